"""Plain appends to logs and conversations on the short way: a few items, without guards or ids of the caller's."""

from collections.abc import Callable
from typing import Any, Final, final

from recollectd._native.facts import Maker
from recollectd._native.hot_writes import HotKind, HotWrite
from recollectd._native.value_cache import ValueCache

LOG_APPEND: Final[int]
"""The tags of the requests."""
CONVERSATION_APPEND: Final[int]

@final
class HotAppends(HotKind):
    """Appends of one kind."""

    def __new__(
        cls,
        tag: int,
        time_us_max: int,
        new_head: Callable[..., object],
        new_place: Callable[[int, int], object] | None = None,
        last_use_key: Callable[[bytes, int], bytes] | None = None,
    ) -> HotAppends:
        """Make appends.

        tag: of the request; time_us_max: the latest time a message may have; new_head: makes a head of its fields.
        new_place, last_use_key: of conversations; None for logs.
        """

@final
class HotLogHead(Maker):
    """A head as the next append needs it."""

@final
class HotAppend(HotWrite):
    """An append on its way."""

    def add_rows(self, rows: list[Any]) -> None:
        """Add the rows it becomes."""
    def follow(self, cache: ValueCache) -> None:
        """Tell the value cache."""
