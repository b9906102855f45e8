"""The calls of the client, a file for each kind of record; `kinds.everything` puts them together."""
