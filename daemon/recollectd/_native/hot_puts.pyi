"""Plain puts of state records, one or many, on the short way: those without a time to live."""

from collections.abc import Callable
from typing import Any, Final, Self, final

from typing_extensions import disjoint_base

from recollectd._native.facts import Maker
from recollectd._native.hot_writes import HotKind, HotWrite
from recollectd._native.value_cache import ValueCache

STATE_PUT: Final[int]
STATE_PUT_MANY: Final[int]
"""The tags of the requests."""

@disjoint_base
class PlainPuts(HotKind):
    """What puts of one and of many have in common."""

    def __new__(cls, new_head: Callable[..., object], policies: Any) -> Self:
        """Make puts.

        new_head: makes a StateHead of its fields; policies: say how much history a record keeps.
        """
    def compact(self, fact: object) -> object:
        """Return a head in the form that takes least memory, and any other fact as it is."""

@final
class HotPuts(PlainPuts):
    """Puts."""

@final
class HotPutsOfMany(PlainPuts):
    """Puts of many."""

@final
class HotHead(Maker):
    """A head as the next put needs it."""

@final
class HotPut(HotWrite):
    """A put on its way."""

    def add_rows(self, rows: list[Any]) -> None:
        """Add the rows it becomes."""
    def follow(self, cache: ValueCache) -> None:
        """Tell the value cache."""

@final
class HotPutOfMany(HotWrite):
    """A put of many on its way."""

    def add_rows(self, rows: list[Any]) -> None:
        """Add the rows it becomes."""
    def follow(self, cache: ValueCache) -> None:
        """Tell the value cache."""
