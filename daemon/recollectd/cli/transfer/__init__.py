"""Moving records in and out as JSON Lines. Nothing here knows of the command line or of terminals."""
