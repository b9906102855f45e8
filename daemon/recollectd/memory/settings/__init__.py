"""Settings of namespaces: how much history their state records keep, and how they are searched."""

from recollectd.memory.settings.kind import KIND
from recollectd.memory.settings.search import KIND as SEARCH_KIND

KINDS = (KIND, SEARCH_KIND)

__all__ = ["KINDS"]
