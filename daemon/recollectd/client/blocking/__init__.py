"""The blocking face: threads share a client; each call takes one connection for itself while it lasts."""
