"""What a space of vectors is, and whether a vector may enter it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from recollectd._native import vector_scan
from recollectd.protocol.errors import InvalidArgument

Floats = npt.NDArray[np.float32]
# As events carry them: little-endian f32, one behind the other.
Vector = bytes | bytearray | memoryview | Floats

DIMENSIONS_MAX: Final = 8192


class Metric(Enum):
    """How near two vectors are; the higher the similarity, the nearer.

    COSINE: of the angle, from -1 to 1; vectors are kept with norm 1. DOT: the inner product of vectors as they are.
    L2: 1 / (1 + the Euclidean distance), from 0 to 1.
    """

    COSINE = "cosine"
    DOT = "dot"
    L2 = "l2"


class Precision(Enum):
    """How components are kept for exact scores: 4 bytes; the upper 2 of them (relative error 1/256); 1 byte.

    Recall on embeddings is the same for all three to a percent; dot products of i8 are off by about 1/127 of the
    largest component times the norm of the query.
    """

    F32 = "f32"
    BF16 = "bf16"
    I8 = "i8"


_PRECISIONS: Final = {
    Precision.F32: vector_scan.F32,
    Precision.BF16: vector_scan.BF16,
    Precision.I8: vector_scan.I8,
}


class Spec(msgspec.Struct, frozen=True):
    """Fixed when a space is created."""

    dimensions: int
    metric: Metric = Metric.COSINE
    precision: Precision = Precision.F32

    @property
    def native_precision(self) -> int:
        """The precision as native code names it."""
        return _PRECISIONS[self.precision]

    @property
    def graph_precision(self) -> int:
        """What graphs keep of a component, as native code names it."""
        return vector_scan.I8 if self.metric is Metric.COSINE else vector_scan.BF16

    @property
    def measure(self) -> int:
        """What native code computes for the metric."""
        return vector_scan.L2 if self.metric is Metric.L2 else vector_scan.DOT

    @property
    def to_unit(self) -> bool:
        """Whether vectors and queries are brought to norm 1."""
        return self.metric is Metric.COSINE

    @property
    def row_bytes(self) -> int:
        """Bytes of one stored row."""
        return vector_scan.row_bytes(self.native_precision, self.dimensions)

    def similarities(self, hits: list[tuple[bytes, float]]) -> list[tuple[bytes, float]]:
        """Return what callers see of ids and scores of native code."""
        match self.metric:
            case Metric.COSINE:
                return [(one, 1.0 if score > 1 else -1.0 if score < -1 else score) for one, score in hits]
            case Metric.L2:
                return [(one, 1 / (1 + float(max(0.0, -score)) ** 0.5)) for one, score in hits]
            case _:
                return hits


def check_spec(spec: Spec, field: str = "dimensions") -> None:
    """Raise InvalidArgument naming the field unless a space can have these dimensions."""
    if not 1 <= spec.dimensions <= DIMENSIONS_MAX:
        raise InvalidArgument(f"a vector has 1 to {DIMENSIONS_MAX} dimensions, not {spec.dimensions}", field=field)


def check_vector(vector: Vector | Sequence[float], spec: Spec, field: str = "vector") -> Floats:
    """Return a vector as f32 of shape (dimensions,).

    vector: little-endian f32 in bytes, or numbers. Raises InvalidArgument naming the field: wrong size, NaN, infinity,
    and for the cosine metric norm zero, which has no direction.
    """
    floats = as_floats(vector, field)
    if floats.shape != (spec.dimensions,):
        size = floats.shape[0] if floats.ndim == 1 else floats.shape
        raise InvalidArgument(f"the space has {spec.dimensions} dimensions, the vector {size}", field=field)
    with np.errstate(over="ignore"):
        norm = float(np.dot(floats, floats))
    if not np.isfinite(norm):
        if np.isfinite(floats).all():
            raise InvalidArgument("the vector's norm is beyond what f32 can hold", field=field)
        at = int(np.flatnonzero(~np.isfinite(floats))[0])
        raise InvalidArgument(f"component {at} is {floats[at]}, which is no finite number", field=field)
    if spec.metric is Metric.COSINE and norm < np.finfo(np.float32).tiny:
        raise InvalidArgument("the vector's norm is zero, so it has no direction for the cosine metric", field=field)
    return floats


def as_floats(vector: Vector | Sequence[float], field: str = "vector") -> Floats:
    """Return numbers or bytes of f32 as an array. Raises InvalidArgument naming the field."""
    if isinstance(vector, bytes | bytearray | memoryview):
        if len(vector) % 4:
            raise InvalidArgument(f"{len(vector)} bytes are no vector of f32: not a multiple of 4", field=field)
        return np.frombuffer(vector, dtype="<f4")
    if isinstance(vector, np.ndarray) and vector.dtype == np.float32 and vector.flags.c_contiguous:
        return vector
    try:
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(vector, dtype=np.float32)
    except (TypeError, ValueError):
        raise InvalidArgument("a vector is a list of numbers or bytes of f32", field=field) from None


def stack(vectors: Sequence[Vector]) -> Floats:
    """Return checked vectors one behind the other."""
    if all(isinstance(vector, bytes) for vector in vectors):
        return np.frombuffer(b"".join(vectors), dtype="<f4")  # type: ignore[arg-type]
    return np.concatenate([as_floats(vector) for vector in vectors])
