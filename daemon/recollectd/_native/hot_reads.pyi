"""Reads answered from the value cache, and what all connections share of that."""

from collections.abc import Callable
from typing import final

from recollectd._native.value_cache import ValueCache

@final
class HotReads:
    """Answers reads from a cache. Expired records are never answered: where it matters, now_us tells journal time.

    position: everything up to this commit is in the cache, as far as it is there at all; replies carry it.
    bytes_in_flight: of the requests that did not go the native way, over all connections.
    """

    position: int
    bytes_in_flight: int

    def __new__(
        cls,
        cache: ValueCache,
        *,
        now_us: Callable[[], int],
        touched: Callable[[list[tuple[bytes, int]]], None],
        limits: dict[str, int],
        bytes_in_flight_max: int,
        request_bytes: int,
    ) -> HotReads:
        """Read from a cache.

        touched: told of sliding records that were read, as (key, expires_at). limits: those of the protocol, by name.
        bytes_in_flight_max, request_bytes: over all connections, and what a request counts beside its bytes.
        """
    @property
    def hits(self) -> int:
        """Records that were looked up and found, absent ones too."""
    @property
    def misses(self) -> int:
        """Records that had to be read from RocksDB."""
    def answered(self) -> dict[int, int]:
        """Return how many requests were answered in native code, by tag."""
    def get(self, key: bytes) -> bytes | None:
        """Return the message that answers a StateGet, or None when the cache cannot say."""
    def get_many(self, keys: tuple[bytes, ...]) -> bytes | None:
        """Return the message that answers a StateGetMany of one namespace, or None when the cache lacks one of them."""
    def get_values(self, keys: tuple[bytes, ...]) -> bytes | None:
        """Return the message that answers a StateGetValues of one namespace, or None, like `get_many`."""
    def last(self, key: bytes, wanted: int) -> bytes | None:
        """Return the message that holds the newest `wanted` items of a log or conversation, or None."""
    def look_at_clock(self) -> None:
        """Set the time that answers go by until the next wake-up."""
    def tell_touched(self) -> None:
        """Tell of the sliding records that the last answer has read."""
    def pointer(self) -> object:
        """Return a capsule for native code; it holds no reference."""
