"""The short way of plain puts: from a frame's bytes to a commit that waits for the journal."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, final, type_check_only

from recollectd._native.hot_reads import HotReads
from recollectd._native.value_cache import ValueCache

@type_check_only
class Ways(Protocol):
    """What the short way shares with the ordinary one; see `recollectd.server.hot.HotWays`."""

    sequencer: Any
    sessions: Any
    underway: Any
    ready: deque[Any]
    @property
    def new_head(self) -> Callable[..., object]: ...
    @property
    def new_underway(self) -> Callable[[], object]: ...
    @property
    def decode(self) -> Callable[[bytes], Any]: ...
    now: Callable[[], int]
    time: Callable[[], float]
    room_bytes: Callable[[], int]
    wake: Callable[[], None]
    @property
    def call_soon(self) -> Callable[[Callable[[], None]], object]: ...
    def note_slow(self, elapsed_s: float, /) -> None:
        """The slowest of the puts that ended together took so long."""

@final
class HotWrites:
    """What all connections' puts share. Lives on the event loop.

    bytes_in_flight: of puts on their way; unapplied_bytes: of their journal entries; puts: how many there were.
    """

    @property
    def bytes_in_flight(self) -> int: ...
    @property
    def unapplied_bytes(self) -> int: ...
    @property
    def puts(self) -> int: ...
    def __new__(cls, reads: HotReads, ways: Ways, *, slow_s: float) -> HotWrites:
        """Take puts; those that take longer than slow_s seconds are told to `ways`."""
    def lane(self, connection: Any, otherwise: Callable[[bytes], None]) -> HotLane:
        """Return what takes a connection's frames; those that are not for the short way go to `otherwise`."""
    def end_turn(self) -> None:
        """Forget what held for this turn of the loop."""
    def flush(self) -> None:
        """Send the replies that puts which have ended have queued."""

@final
class HotLane:
    """One connection's puts: requests and bytes that are on their way."""

    @property
    def requests_in_flight(self) -> int: ...
    @property
    def bytes_in_flight(self) -> int: ...
    def welcome(
        self, lane: Any, intake: Any, session_id: bytes, principal: str, requests_max: int, bytes_max: int
    ) -> None:
        """The hello is behind us: puts may come, so many at a time."""
    def take(self, frame: bytes) -> None:
        """Carry out a frame."""

@final
class HotWrite:
    """A put on its way: to the committer a `recollectd.server.pending.Pending`, to others in its lane a ticket."""

    @property
    def key(self) -> bytes: ...
    @property
    def seq(self) -> int: ...
    @property
    def time(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def digest(self) -> int: ...
    @property
    def commit(self) -> Any: ...
    @property
    def sequenced(self) -> HotWrite: ...
    @property
    def asynchronous(self) -> bool: ...
    @property
    def outcome(self) -> tuple[int, Any] | None: ...
    @property
    def waiters(self) -> list[Callable[[], None]]: ...
    def add_rows(self, rows: list[Any]) -> None:
        """See `Pending`, as for the others."""
    def written(self) -> None: ...
    def applied(self) -> None: ...
    def follow(self, cache: ValueCache) -> None: ...
    def finish(self) -> None: ...
    def refuse(self, error: Any) -> None: ...
