"""Values on the command line: JSON, text, a file's bytes, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import Failure
from recollectd.cli.tagging import TagError, from_json

STDIN: Final = "-"


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


def metadata(given: Any) -> dict[str, Any]:
    """Return the JSON object that stands on the command line; a type of click options."""
    parsed = parse_json(given, "metadata") if isinstance(given, str) else given
    if not isinstance(parsed, dict) or not all(isinstance(key, str) for key in parsed):
        raise click.BadParameter('expected a JSON object, such as {"topic": "travel"}')
    return parsed


def named_vectors(given: Iterable[str]) -> dict[str, Any] | None:
    """Return the vectors of `SPACE=JSON` options by space, None for none. Raises UsageError."""
    vectors: dict[str, Any] = {}
    for each in given:
        name, sign, components = each.partition("=")
        if not (name and sign):
            raise click.UsageError("A vector is SPACE=[1.0, 2.0, ...].")
        vectors[name] = parse_json(components, "--vector")
    return vectors or None
