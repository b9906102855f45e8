"""Writes for the short way whose records' heads are not at hand, and what waits behind them; in native code alone."""

from collections.abc import Callable, Sequence
from typing import final

from typing_extensions import disjoint_base

from recollectd._native.facts import FactCache

@final
class Flight:
    """Rows that are fetched together, and the lanes that wait for them."""

    def land(self) -> None:
        """The rows are there, or cannot be read: what waits for them goes on."""

@final
class Flights:
    """Makes flights, one for all that is asked for in a turn of the loop."""

    def __new__(
        cls,
        facts: FactCache,
        fetch: Callable[[Sequence[bytes], Callable[[], None]], None],
        call_soon: Callable[[Callable[[], None]], object],
        time: Callable[[], float],
    ) -> Flights:
        """Fetch rows with `fetch`, which calls back; time: of the loop, in seconds."""
    def take_off(self) -> None:
        """Fetch what was asked for in this turn of the loop."""

@final
class WaitingFrame:
    """A frame that waits for its turn."""

@disjoint_base
class WaitingLane:
    """What a lane is for those that wait in it: requests and bytes that are on their way, waiting or not."""

    @property
    def requests_in_flight(self) -> int: ...
    @property
    def bytes_in_flight(self) -> int: ...
