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
class Graph:
    """A graph as usearch writes it, walked where the buffer lies; that stays there while this lives.

    precision: BF16, or I8 for DOT. What is read is checked for its bounds; what else may be wrong with the bytes makes
    searches worse and harms nobody. Raises ValueError for anything else than a graph of such vectors.
    """

    def __new__(cls, file: _Buffer, dimensions: int, measure: int, precision: int) -> Graph: ...
    def __len__(self) -> int:
        """Return the number of places, those of removed rows included."""

    @property
    def table_bytes(self) -> int:
        """Memory beside the buffer."""

@final
class Scan:
    """Searches over the same parts, by any number of threads at once. A row counts if it had not died by seq and its
    bit in the mask is set.

    to_unit: queries are brought to norm 1.
    """

    def __new__(cls, measure: int, precision: int, dimensions: int, to_unit: bool, seq: int) -> Scan: ...
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

    def add_graph(
        self,
        graph: Graph,
        stored: _Buffer,
        rows_max: int,
        effort: int,
        fetch: int,
        died: _Buffer | None = None,
        mask: _Buffer | None = None,
    ) -> int:
        """Add the rows that a graph finds as a part; return its number.

        effort: how many rows that count a walk keeps; fetch: how many of them are scored by what is stored.
        """

    def run(self, vector: _Buffer, limit: int, coarse_limit: int) -> tuple[list[tuple[float, int, int]], list[int]]:
        """Return up to limit of (score, part, row), best first, and how many rows of each part counted.

        vector: the query in f32; coarse_limit: how many rows with i8 copies are scored twice. Other threads run
        meanwhile. Which of several rows with one score are kept at the end is left open.
        """

    def run_many(
        self, vectors: list[Any], limit: int, wanted: int, coarse_limit: int, names: list[Any]
    ) -> list[list[tuple[bytes, float]] | None]:
        """Return limit of (id, score) for each query, equals by id, or None where `run` must be asked: what graphs gave
        was less than wanted, or more may be as near as the last than are wanted.

        names: by part what has the ids by row. Other threads run while all queries are answered, one after the other.
        """
