"""What may enter a space; every refusal names the field."""

from __future__ import annotations

import re

import numpy as np
import pytest

from recollectd.protocol.errors import InvalidArgument
from recollectd.storage.vectors.spec import DIMENSIONS_MAX, Metric, Spec, check_spec, check_vector

SPEC = Spec(3)


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        ([1.0, 2.0], "3 dimensions, the vector 2"),
        ([1.0, 2.0, 3.0, 4.0], "3 dimensions, the vector 4"),
        (b"", "3 dimensions, the vector 0"),
        (b"12345", "not a multiple of 4"),
        ([[1.0, 2.0, 3.0]], "3 dimensions"),
        ([1.0, float("nan"), 3.0], "component 1 is nan"),
        ([1.0, 2.0, float("inf")], "component 2 is inf"),
        ([-float("inf"), 2.0, 3.0], "component 0 is -inf"),
        ([1e39, 2.0, 3.0], "component 0 is inf"),
        ([3e38, 3e38, 3e38], "beyond what f32 can hold"),
        ([0.0, 0.0, 0.0], "norm is zero"),
        ([0.0, -0.0, 1e-30], "norm is zero"),
        (["a", "b", "c"], "list of numbers"),
    ],
)
def test_what_is_refused_names_the_field(vector: list[float], says: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(says)) as refused:
        check_vector(vector, SPEC, "vectors.body")
    assert refused.value.field == "vectors.body"


@pytest.mark.parametrize("metric", [Metric.DOT, Metric.L2])
def test_zero_is_a_vector_where_direction_does_not_count(metric: Metric) -> None:
    assert check_vector([0.0, 0.0, 0.0], Spec(3, metric)).tolist() == [0.0, 0.0, 0.0]


def test_numbers_and_bytes_are_the_same_vector() -> None:
    numbers = [0.5, -1.0, 2.0]
    content = np.array(numbers, "<f4").tobytes()
    for given in (numbers, tuple(numbers), content, bytearray(content), memoryview(content), np.array(numbers)):
        assert check_vector(given, SPEC).tolist() == numbers


@pytest.mark.parametrize("dimensions", [0, -1, DIMENSIONS_MAX + 1])
def test_a_space_has_a_number_of_dimensions_within_bounds(dimensions: int) -> None:
    with pytest.raises(InvalidArgument, match="dimensions") as refused:
        check_spec(Spec(dimensions))
    assert refused.value.field == "dimensions"


def test_bounds_themselves_are_allowed() -> None:
    check_spec(Spec(1))
    check_spec(Spec(DIMENSIONS_MAX))
