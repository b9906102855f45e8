"""The commands, by file; `recollectd.cli.root` says which file holds which."""
