"""Vectors as rows in memory: stored in their precision and scored exactly, without the interpreter.

Precisions: F32; BF16, the upper half of an f32; I8, one byte a dimension and an f32 to multiply with. Measures: DOT,
the inner product; L2, the squared distance with its sign turned, so that higher is always nearer. Buffers are C
contiguous; a shorter one than needed raises ValueError.
"""

from typing import Any, Final, final

# Anything with a buffer: bytes, mapped files, arrays of numpy's.
_Buffer = Any

F32: Final[int]
BF16: Final[int]
I8: Final[int]
DOT: Final[int]
L2: Final[int]

def row_bytes(precision: int, dimensions: int) -> int:
    """Return the bytes of one stored row."""

def norm(vector: _Buffer, dimensions: int) -> float:
    """Return the Euclidean norm of f32 components, added up in f64: NaN or infinite if one of them is."""

def prepare(vector: _Buffer, exact: _Buffer, coarse: _Buffer, dimensions: int, to_unit: bool) -> float:
    """Write a query of f32 to `exact` (f32, with norm 1 if to_unit) and `coarse` (i8); return the i8's scale."""

def store(
    precision: int,
    dimensions: int,
    vectors: _Buffer,
    count: int,
    to_unit: bool,
    first: int,
    rows: _Buffer,
    coarse: _Buffer | None = None,
    coarse_scales: _Buffer | None = None,
) -> None:
    """Write count vectors of f32 as the rows from `first` on, and their i8 copies with one f32 scale each.

    Other threads run meanwhile.
    """

def load(precision: int, dimensions: int, rows: _Buffer, first: int, count: int, out: _Buffer) -> None:
    """Write count rows from `first` on to `out` as f32. Other threads run meanwhile."""

@final
class Scan:
    """One search over several parts. A row counts if it had not died by seq and its bit in the mask is set.

    accepted: after `run`, how many rows of each part counted.
    """

    @property
    def accepted(self) -> list[int]: ...
    def __new__(
        cls, measure: int, precision: int, dimensions: int, vector: _Buffer, coarse: _Buffer, seq: int
    ) -> Scan: ...
    def add_range(
        self,
        stored: _Buffer,
        count: int,
        died: _Buffer | None = None,
        mask: _Buffer | None = None,
        coarse: _Buffer | None = None,
        coarse_scales: _Buffer | None = None,
    ) -> int:
        """Add the first count rows as a part; return its number. With i8 copies (DOT only) these are asked first."""

    def add_rows(
        self,
        stored: _Buffer,
        rows_max: int,
        rows: _Buffer,
        count: int,
        died: _Buffer | None = None,
        mask: _Buffer | None = None,
    ) -> int:
        """Add the rows whose numbers (u64) are listed as a part; return its number. IndexError: not below rows_max."""

    def run(self, limit: int, coarse_limit: int) -> list[tuple[float, int, int]]:
        """Return up to limit of (score, part, row), best first; coarse_limit: how many are scored twice.

        Once; other threads run meanwhile. Which of several rows with one score are kept at the end is left open.
        """
