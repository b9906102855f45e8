"""Plain puts of state records on the short way: those without a time to live."""

from collections.abc import Callable
from typing import Any, Final, final

from recollectd._native.facts import Maker
from recollectd._native.hot_writes import HotKind, HotWrite
from recollectd._native.value_cache import ValueCache

STATE_PUT: Final[int]
"""The tag of the request."""

@final
class HotPuts(HotKind):
    """Puts."""

    def __new__(cls, new_head: Callable[..., object], policies: Any) -> HotPuts:
        """Make puts.

        new_head: makes a StateHead of its fields; policies: say how much history a record keeps.
        """

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
