"""The one source of truth for both sides of the socket: frames, messages, errors, limits. Imports msgspec alone."""
