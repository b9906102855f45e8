"""What stands on the command line, turned into what the client takes: namespaces, values, times, durations."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import Failure
from recollectd.cli.tagging import TagError, from_json

STDIN: Final = "-"
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


def parse_json(text: str | bytes, what: str) -> Any:
    """Return the value JSON text stands for, tags included. `what` names it in the error."""
    try:
        return from_json(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failure(
            f"{what} is not JSON: {error}", hint="--text takes it as text", code=ExitCode.DATA_ERROR
        ) from None
    except TagError as error:
        raise Failure(f"{what}: {error}", code=ExitCode.DATA_ERROR) from None


def read_value(given: str | None, *, text: bool, bytes_from: Path | None) -> Any:
    """Return the one value of a command: JSON or, if `text`, text; `-` for standard input; or a file's bytes."""
    if (given is None) == (bytes_from is None):
        raise click.UsageError("Give a VALUE (- for standard input) or --bytes-from FILE, one of the two.")
    if bytes_from is not None:
        return sys.stdin.buffer.read() if str(bytes_from) == STDIN else bytes_from.read_bytes()
    if given == STDIN:
        return read_text(STDIN) if text else parse_json(sys.stdin.buffer.read(), "standard input")
    assert given is not None
    return given if text else parse_json(given, "VALUE")


def read_text(given: str) -> str:
    """Return text given on the command line, or standard input for `-`."""
    if given != STDIN:
        return given
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Failure(f"standard input is not UTF-8: {error}", code=ExitCode.DATA_ERROR) from None


# Types of click options. They are plain functions: what they raise names the option by itself.


def metadata(given: Any) -> dict[str, Any]:
    """Return the JSON object that stands on the command line."""
    parsed = parse_json(given, "metadata") if isinstance(given, str) else given
    if not isinstance(parsed, dict) or not all(isinstance(key, str) for key in parsed):
        raise click.BadParameter('expected a JSON object, such as {"topic": "travel"}')
    return parsed


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
