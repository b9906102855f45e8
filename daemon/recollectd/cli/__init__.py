"""The command line: `main.main` is the command `recollectd`. Commands are loaded when they are called."""
