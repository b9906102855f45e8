"""Times and durations between people's forms and the wire's integers (microseconds since 1970-01-01T00:00:00Z)."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias

from recollectd.protocol import errors, limits

Moment: TypeAlias = datetime | str | float
"""A moment as an argument: an aware datetime, ISO-8601 text with a zone, or seconds since the epoch."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND_US: Final = 1_000_000


def iso_time(time_us: int) -> str:
    """Return a time of the wire as ISO-8601 in UTC, always with microseconds: `2026-01-31T12:00:00.000000Z`."""
    second, microsecond = divmod(time_us, _SECOND_US)
    return f"{_iso_second(second)}.{microsecond:06d}Z"


def optional_iso_time(time_us: int | None) -> str | None:
    """Return a time of the wire as ISO-8601, None for none."""
    return None if time_us is None else iso_time(time_us)


@lru_cache(maxsize=1024)
def _iso_second(second: int) -> str:
    # Records read together were mostly written together: the calendar is asked once for each second.
    return (_EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat()


def time_us(moment: Moment, field: str, *, least: int = 0) -> int:
    """Return a moment as the wire carries it. Raises InvalidArgument naming the field."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise errors.InvalidArgument(f"{moment!r} is no ISO-8601 time", field=field) from None
    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise errors.InvalidArgument(f"{moment.isoformat()} has no time zone", field=field)
        microseconds = (moment - _EPOCH) // _MICROSECOND
    else:
        microseconds = _scaled(moment, field)
    if not least <= microseconds <= limits.TIME_US_MAX:
        raise errors.InvalidArgument(
            f"{moment} lies outside the years {1970 if least == 0 else 1} to 9999", field=field
        )
    return microseconds


def optional_time_us(moment: Moment | None, field: str) -> int | None:
    """Return a moment as the wire carries it, None for none."""
    return None if moment is None else time_us(moment, field)


def optional_valid_at_us(moment: Moment | None, field: str) -> int | None:
    """Return when something was true, which may be long before it was stored, as the wire carries it."""
    return None if moment is None else time_us(moment, field, least=limits.VALID_AT_US_MIN)


def ttl_us(seconds: float | None) -> int | None:
    """Return a time to live in microseconds, None for ever. Raises InvalidArgument naming `ttl`."""
    if seconds is None:
        return None
    microseconds = _scaled(seconds, "ttl")
    if not 1 <= microseconds <= limits.TTL_US_MAX:
        raise errors.InvalidArgument(
            f"{seconds} seconds: more than 0 and at most {limits.TTL_US_MAX // _SECOND_US} are allowed", field="ttl"
        )
    return microseconds


def duration_us(seconds: float | None, field: str) -> int | None:
    """Return a duration that may be zero in microseconds, None for none. Raises InvalidArgument naming the field."""
    if seconds is None:
        return None
    microseconds = _scaled(seconds, field)
    if microseconds < 0:
        raise errors.InvalidArgument(f"{seconds} seconds are less than none", field=field)
    if microseconds > limits.TIME_US_MAX:
        raise errors.InvalidArgument(f"{seconds} seconds are longer than time", field=field)
    return microseconds


def _scaled(seconds: float, field: str) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise errors.InvalidArgument(f"must be a number of seconds, not {type(seconds).__name__}", field=field)
    if not math.isfinite(seconds):
        raise errors.InvalidArgument(f"{seconds} is no time", field=field)
    return round(seconds * _SECOND_US)
