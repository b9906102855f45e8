"""Settings of namespaces: how much history their state records keep."""

from recollectd.memory.settings.kind import KIND

__all__ = ["KIND"]
