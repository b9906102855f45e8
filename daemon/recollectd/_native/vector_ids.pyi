"""Record ids of a segment's rows, both ways, read where a mapped file lies."""

from mmap import mmap
from typing import final

def pack(ids: list[bytes]) -> bytes:
    """Return the table of these ids by row; an empty id is a hole. Raises ValueError when one is there twice."""

@final
class IdTable:
    """A table made by `pack`; the buffer stays where it is while this lives. Raises ValueError for anything else."""

    def __new__(cls, packed: bytes | mmap) -> IdTable: ...
    def __len__(self) -> int: ...
    def find(self, record_id: bytes) -> int:
        """Return the row of an id, or -1."""

    def find_many(self, record_ids: list[bytes]) -> bytes:
        """Return the rows (u64) of those ids that have one, in their order."""

    def __getitem__(self, row: int, /) -> bytes:
        """Return the id of a row. Raises IndexError."""
