"""The short way of plain writes: from a frame's bytes to a commit that waits for the journal."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, final, type_check_only

from typing_extensions import disjoint_base

from recollectd._native.hot_reads import HotReads
from recollectd._native.hot_waiting import WaitingLane

@type_check_only
class Ways(Protocol):
    """What the short way shares with the ordinary one; see `recollectd.server.hot.HotWays`."""

    sequencer: Any
    sessions: Any
    underway: Any
    ready: deque[Any]
    @property
    def new_underway(self) -> Callable[[], object]: ...
    @property
    def decode(self) -> Callable[[bytes], Any]: ...
    now: Callable[[], int]
    time: Callable[[], float]
    room_bytes: Callable[[], int]
    wake: Callable[[], None]
    @property
    def fetch(self) -> Callable[[Sequence[bytes], Callable[[], None]], None]: ...
    @property
    def call_soon(self) -> Callable[[Callable[[], None]], object]: ...
    def note_slow(self, elapsed_s: float, /) -> None:
        """The slowest of the writes that ended together took so long."""

@disjoint_base
class HotKind:
    """How the writes of one kind are read and made; in native code alone."""

@final
class HotWrites:
    """What all connections' writes share. Lives on the event loop.

    bytes_in_flight: of writes on their way; taken_bytes: of the journal entries of all so far.
    """

    @property
    def bytes_in_flight(self) -> int: ...
    @property
    def taken_bytes(self) -> int: ...
    @property
    def ways(self) -> Any: ...
    @ways.setter
    def ways(self, ways: Any, /) -> None: ...
    def __new__(cls, reads: HotReads, ways: Ways, kinds: dict[int, HotKind], *, slow_s: float) -> HotWrites:
        """Take writes of these kinds, by tag; those that take longer than slow_s seconds are told to `ways`."""
    def taken(self) -> dict[int, int]:
        """Return how many writes went the short way, by tag."""
    def lane(self, connection: Any, otherwise: Callable[[bytes], None]) -> HotLane:
        """Return what takes a connection's frames; those that are not for the short way go to `otherwise`."""
    def end_turn(self) -> None:
        """Forget what held for this turn of the loop."""
    def flush(self) -> None:
        """Send the replies that `finish` has queued; call after the last of some."""

@final
class HotLane(WaitingLane):
    """One connection's writes."""

    def welcome(
        self, lane: Any, intake: Any, session_id: bytes, principal: str, requests_max: int, bytes_max: int
    ) -> None:
        """The hello is behind us: writes may come, so many at a time."""
    def take(self, frame: bytes) -> None:
        """Carry out a frame."""

@disjoint_base
class HotWrite:
    """A write on its way: to the committer a `recollectd.server.pending.Pending`, to others in its lane a ticket."""

    @property
    def kind(self) -> int: ...
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
    def lane(self) -> Any: ...
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
    def written(self) -> None:
        """Nothing is told before it is durable: an asynchronous write goes the ordinary way."""
    def applied(self) -> None:
        """Bring along what is known of its record and its session."""
    def finish(self) -> None:
        """Answer, and leave the lane."""
    def refuse(self, error: Any) -> None:
        """It did not reach the journal, and is taken back."""
