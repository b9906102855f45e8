"""Vectors between Python's sequences of numbers and the wire's little-endian float32 components."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from recollectd.client.arguments import free_text
from recollectd.protocol import errors

Vector: TypeAlias = "Iterable[float] | bytes"
"""Numbers (a list, a tuple, an array of numpy), or little-endian float32 components as bytes."""


def packed_vector(vector: Vector, field: str) -> bytes:
    """Return a vector as the wire carries it. Raises InvalidArgument naming the field."""
    if isinstance(vector, bytes):
        return vector
    listed: Any = vector.tolist() if hasattr(vector, "tolist") else vector
    try:
        components = array("f", listed)
    except (TypeError, ValueError, OverflowError) as error:
        raise errors.InvalidArgument(f"must be numbers: {error}", field=field) from None
    if sys.byteorder == "big":
        components.byteswap()
    return components.tobytes()


def packed_vectors(vectors: Mapping[str, Vector] | None, field: str = "vectors") -> dict[str, bytes] | None:
    """Return vectors by space as the wire carries them."""
    if vectors is None:
        return None
    if not isinstance(vectors, Mapping):
        raise errors.InvalidArgument("must be a map from the names of vector spaces to vectors", field=field)
    return {free_text(name, field): packed_vector(vector, f"{field}[{name!r}]") for name, vector in vectors.items()}


def unpacked_vectors(vectors: Mapping[str, bytes] | None) -> dict[str, list[float]] | None:
    """Return vectors of the wire as lists of numbers."""
    if vectors is None:
        return None
    found: dict[str, list[float]] = {}
    for name, components in vectors.items():
        numbers = array("f", components)
        if sys.byteorder == "big":
            numbers.byteswap()
        found[name] = numbers.tolist()
    return found
