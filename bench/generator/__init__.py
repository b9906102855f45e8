"""A native load generator: compiled at its first use, loaded with requests as bytes, cheaper than what it loads."""
