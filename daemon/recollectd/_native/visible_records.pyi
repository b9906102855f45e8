"""Which records are known to be there and in sight, and until when: 16 bytes for each, in bounded memory."""

from typing import final

@final
class VisibleRecords:
    """By record key. bytes_max: memory it may take, 0 keeps nothing; seed: known to nobody outside.

    The hash of a key stands for it: with a billion look-ups a day, two are confused once in a million years.
    """

    def __new__(cls, bytes_max: int, seed: int) -> VisibleRecords: ...
    def __len__(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    def keep(self, key: bytes, until: int) -> None:
        """Note that a record is in sight until a time, 0: as long as nothing changes. May let go of another."""

    def forget(self, key: bytes) -> None:
        """Nothing is known of a record any more."""

    def clear(self) -> None:
        """Nothing is known of any."""

    def until(self, key: bytes) -> int:
        """Return until when a record is in sight, 0 for ever, -1 where it is not known."""

    def all_visible(self, prefix: bytes, hits: list[tuple[bytes, float]], time: int) -> bool:
        """Tell whether all records whose keys are the prefix and a hit's id are known to be in sight at a time."""
