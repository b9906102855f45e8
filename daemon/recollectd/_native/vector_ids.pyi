"""Record ids of rows, both ways: a segment's, read where a mapped file lies, and those of a delta, which grow."""

from typing import Any, final

# Anything with a buffer: bytes, mapped files, arrays of numpy's.
_Buffer = Any

def pack(ids: list[bytes]) -> bytes:
    """Return the table of these ids by row; an empty id is a hole. Raises ValueError when one is there twice."""

@final
class IdTable:
    """A table made by `pack`; the buffer stays where it is while this lives. Raises ValueError for anything else."""

    def __new__(cls, packed: _Buffer) -> IdTable: ...
    def __len__(self) -> int: ...
    def find(self, record_id: bytes) -> int:
        """Return the row of an id, or -1."""

    def find_many(self, record_ids: list[bytes]) -> bytes:
        """Return the rows (u64) of those ids that have one, in their order."""

    def kill_many(self, record_ids: list[bytes], died: _Buffer, seq: int) -> list[bytes]:
        """Let the rows of these ids die, where `died` (u64 a row) does not say yet that they have; return whose did."""

    def __getitem__(self, row: int, /) -> bytes:
        """Return the id of a row. Raises IndexError."""

@final
class IdLog:
    """Ids in order of arrival; a later row of the same id takes the earlier one's place in what is found.

    seed: of the hash, which nobody outside should know. rows_expected: room for as many is kept from the beginning.
    """

    def __new__(cls, seed: int, rows_expected: int = 0) -> IdLog: ...
    def __len__(self) -> int:
        """Return the number of rows."""

    def append(self, record_ids: list[bytes]) -> None:
        """Add a row for each."""

    def find_many(self, record_ids: list[bytes]) -> bytes:
        """Return the rows (u64) of those ids that have a living one, in their order."""

    def kill_many(self, record_ids: list[bytes], died: _Buffer, seq: int) -> list[bytes]:
        """Let the rows of these ids die, as `died` (u64 a row) is told; they are no more found. Return whose did."""

    def __getitem__(self, row: int, /) -> bytes:
        """Return the id of a row. Raises IndexError."""
