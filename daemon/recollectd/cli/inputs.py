"""What stands on the command line, turned into what the client takes: namespaces, times, durations."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

CHARACTER_BY_ESCAPE: Final = {"2F": "/", "25": "%"}
SECONDS_BY_UNIT: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def parse_namespace(parts: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that `a/b` or several such parts one after another stand for.

    A label's own `/` is written %2F, and its `%` is written %25.
    """
    labels = tuple(_unescape(label) for part in parts for label in part.split("/"))
    if not all(labels):
        raise click.BadParameter("a label is empty; labels are separated by one /", param_hint="--namespace")
    return labels


def show_namespace(labels: Sequence[str]) -> str:
    """Return labels as `parse_namespace` reads them."""
    return "/".join(label.replace("%", "%25").replace("/", "%2F") for label in labels)


def _unescape(label: str) -> str:
    return re.sub("%(.{0,2})", _escaped_character, label, flags=re.DOTALL)


def _escaped_character(escape: re.Match[str]) -> str:
    try:
        return CHARACTER_BY_ESCAPE[escape[1].upper()]
    except KeyError:
        message = f"{escape[0]} is no escape: a label's own / is written %2F, and its % is written %25"
        raise click.BadParameter(message, param_hint="--namespace") from None


# Types of click options. They are plain functions: what they raise names the option by itself.


def duration(given: Any) -> float:
    """Return the seconds that a number, or one with ms, s, m, h or d behind it, stands for."""
    text = str(given)
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    factor = SECONDS_BY_UNIT.get(text[len(number) :] or "s", math.nan)
    try:
        seconds = float(number) * factor
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise click.BadParameter(f"{text!r}: expected seconds, or a number with ms, s, m, h or d behind it")
    return seconds


def time(given: Any) -> datetime:
    """Return the time that ISO-8601 text, UTC where it names no zone, or seconds since 1970 stand for."""
    try:
        return given if isinstance(given, datetime) else parse_time(str(given))
    except ValueError:
        message = f"{given!r}: expected a time such as 2026-01-31T12:00:00Z, or seconds since 1970"
        raise click.BadParameter(message) from None


def parse_time(text: str) -> datetime:
    """Return an ISO-8601 time, UTC where it names no zone, or seconds since 1970. Raises ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
