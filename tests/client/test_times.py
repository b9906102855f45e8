"""Times between people's forms and the wire's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd.client.times import duration_us, iso_time, optional_iso_time, time_us, ttl_us
from recollectd.protocol import errors, limits


def test_times_come_back_in_one_form() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00.000000Z"
    assert iso_time(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001Z"
    assert iso_time(limits.TIME_US_MAX) == "9999-12-31T23:59:59.999999Z"
    assert optional_iso_time(None) is None


@given(st.integers(0, limits.TIME_US_MAX))
def test_a_time_survives_the_way_there_and_back(microseconds: int) -> None:
    text = iso_time(microseconds)
    assert time_us(text, "time") == microseconds
    assert time_us(datetime.fromisoformat(text), "time") == microseconds


@pytest.mark.parametrize(
    ("moment", "microseconds"),
    [
        (datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))), 1_769_860_800_000_000),
        ("2026-01-31T13:00:00+01:00", 1_769_860_800_000_000),
        ("2026-01-31T12:00:00Z", 1_769_860_800_000_000),
        (1_769_860_800, 1_769_860_800_000_000),
        (1_769_860_800.123456, 1_769_860_800_123_456),
        (0, 0),
    ],
)
def test_moments_are_taken_in_every_form(moment: Any, microseconds: int) -> None:
    assert time_us(moment, "as_of") == microseconds


@pytest.mark.parametrize(
    "moment",
    [
        float("nan"),
        float("inf"),
        -1,
        True,
        None,
        b"2026",
        "yesterday",
        "2026-01-31T12:00:00",
        datetime(2026, 1, 31),
        datetime(1969, 1, 1, tzinfo=UTC),
        1e30,
    ],
)
def test_what_is_no_moment_is_refused_by_the_fields_name(moment: Any) -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        time_us(moment, "valid_at")
    assert raised.value.field == "valid_at"


def test_times_to_live_are_seconds() -> None:
    assert ttl_us(None) is None
    assert ttl_us(1.5) == 1_500_000
    assert ttl_us(limits.TTL_US_MAX / 1e6) == limits.TTL_US_MAX
    assert duration_us(0, "age_s") == 0
    assert duration_us(None, "age_s") is None


@pytest.mark.parametrize("refused", [0, -1, float("nan"), float("inf"), 1e-9, 1e12, "5", True])
def test_bad_times_to_live_are_refused(refused: Any) -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        ttl_us(refused)
    assert raised.value.field == "ttl"


@pytest.mark.parametrize("function", [lambda: duration_us(-1, "age_s"), lambda: duration_us(float("nan"), "age_s")])
def test_bad_durations_are_refused(function: Callable[[], object]) -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        function()
    assert raised.value.field == "age_s"
