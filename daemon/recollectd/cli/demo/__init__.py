"""`recollectd demo`: a daemon killed in the middle of writing, and what was acknowledged still there afterwards."""
