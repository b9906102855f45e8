"""The value cache: state records and the tails of logs and conversations in native memory, bounded in bytes."""

from typing import Final, TypedDict, final, type_check_only

BYTES_MIN: Final[int]
"""A cache has at least so many bytes,"""
BYTES_MAX: Final[int]
"""and at most so many."""

@type_check_only
class CacheStatistics(TypedDict):
    """What a cache holds and has done since it was made.

    bytes: all told; overhead: what is around keys and values, the table included; superseded: entries replaced or
    removed, whose bytes come back as the queues move on; fills: cold reads that were kept, and that came too late.
    """

    bytes_max: int
    bytes: int
    key_bytes: int
    value_bytes: int
    overhead_bytes: int
    superseded_bytes: int
    overhead_bytes_per_value: float
    values: int
    absent: int
    tails: int
    evictions: int
    promotions: int
    fills: int
    fills_late: int

@final
class ValueCache:
    """What is cached, by record key. Times in microseconds; expires_at 0 for a record that does not expire.

    Apply says what a commit (`seq`) has changed. A cold read says what it found, and at which commit it began
    (`read_at`): that is kept, and True returned, unless something of the same guard was changed later. Guards are
    shared by keys, so a fill can be refused without need; one that is kept is never older than what apply has said.
    Nothing here raises for what does not fit: it is not kept then, nor is anything older. Keys of more than 4,095 bytes
    are a ValueError.

    bytes_max: the bound it was made with. tail_items_max: a tail holds at most so many of a log's newest items.
    """

    @property
    def bytes_max(self) -> int: ...
    @property
    def tail_items_max(self) -> int: ...
    def __new__(cls, bytes_max: int, seed: int) -> ValueCache:
        """Make an empty cache that takes at most bytes_max of memory, all told; seed: of the table's hash.

        Raises ValueError for a size out of bounds, OSError when the system has no room for it.
        """
    def put(
        self,
        seq: int,
        key: bytes,
        value: bytes,
        version: int,
        created_at: int,
        updated_at: int,
        expires_at: int,
        revision: int,
        sliding: bool,
    ) -> None:
        """A state record was written."""
    def put_absent(self, seq: int, key: bytes) -> None:
        """A state record is gone."""
    def touch(self, seq: int, key: bytes, expires_at: int, revision: int, sliding: bool) -> None:
        """A state record's expiry was set anew."""
    def append(
        self,
        seq: int,
        key: bytes,
        first: int,
        next: int,
        revision: int,
        position: int,
        items: tuple[bytes, ...],
    ) -> None:
        """Items (encoded as replies carry them) were appended, the first at position; the log is first ... next - 1.

        Of more than tail_items_max, the last ones are enough.
        """
    def cut(self, seq: int, key: bytes, first: int, next: int, revision: int) -> None:
        """A log was cut down to first ... next - 1."""
    def drop(self, seq: int, key: bytes) -> None:
        """A record was changed in a way the cache does not follow."""
    def clear(self, seq: int) -> None:
        """Forget everything; whatever was read before commit seq comes too late."""
    def fill(
        self,
        read_at: int,
        key: bytes,
        value: bytes,
        version: int,
        created_at: int,
        updated_at: int,
        expires_at: int,
        revision: int,
        sliding: bool,
    ) -> bool:
        """A cold read found this state record."""
    def fill_absent(self, read_at: int, key: bytes) -> bool:
        """A cold read found no such state record."""
    def fill_tail(
        self, read_at: int, key: bytes, first: int, next: int, revision: int, items: tuple[bytes, ...]
    ) -> bool:
        """A cold read found that these are the log's newest items."""
    def statistics(self) -> CacheStatistics:
        """Return the figures as they are now."""
    def pointer(self) -> object:
        """Return a capsule for native code; it holds no reference."""
