"""Agent state: values by key, versioned, with history and time to live."""

from recollectd.memory.state.kind import KIND

__all__ = ["KIND"]
