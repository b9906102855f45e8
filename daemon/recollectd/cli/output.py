"""How results are printed: for people by default, as JSON for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
import msgspec

from recollectd.cli.tagging import to_json
from recollectd.client.results import Record

_GAP: Final = "  "
_WIDTH_MIN: Final = 20
# Control characters, and those that turn the direction of what follows.
_STEERING: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(result: Any) -> Any:
    """Return a client's result as dicts, lists and what JSON carries; fields that are not set are left out.

    Values inside are tagged as `recollectd.cli.tagging` says.
    """
    if isinstance(result, msgspec.Struct):
        leaves_out_defaults = result.__struct_config__.omit_defaults
        shown: dict[str, Any] = {}
        for field in msgspec.structs.fields(result):
            value = getattr(result, field.name)
            if value is msgspec.UNSET or (leaves_out_defaults and value == field.default):
                continue
            shown[field.encode_name] = plain(value)
        return shown
    if isinstance(result, Record):
        return {field: plain(getattr(result, field)) for field in Record.__match_args__}
    if isinstance(result, list | tuple) and any(isinstance(item, msgspec.Struct | Record) for item in result):
        return [plain(item) for item in result]
    return to_json(result)


def dumps(document: Any) -> str:
    """Return one line of JSON for what `plain` or `to_json` returned."""
    return msgspec.json.encode(document).decode()


def print_json(result: Any) -> None:
    """Print a result as one line of JSON."""
    click.echo(dumps(plain(result)))


def print_value(value: Any) -> None:
    """Print a value for people: text as it is, the rest as indented JSON."""
    if isinstance(value, str):
        click.echo(value)
    else:
        click.echo(msgspec.json.format(dumps(to_json(value)), indent=2))


def one_line(value: Any, width: int = 0) -> str:
    """Return a value as one line of JSON, cut to `width` characters if that is not 0."""
    text = dumps(to_json(value))
    return text if not width or len(text) <= width else text[: max(width - 1, 0)] + "…"


def print_table(rows: Iterable[Sequence[object]], headings: Sequence[str]) -> None:
    """Print rows under headings, columns aligned; numbers to the right. All rows are held in memory.

    What would steer a terminal, such as escape sequences in a stored text, is shown as a replacement character.
    """
    cells = [[_STEERING.sub("\ufffd", str(cell)) for cell in row] for row in rows]
    columns = list(zip(headings, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(cell.lstrip("-").isdigit() for cell in column[1:]) for column in columns]
    for line in zip(*columns, strict=True):
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        click.echo(_GAP.join(parts).rstrip())


def shortened(text: str, width: int) -> str:
    """Return a text as one line, cut to `width` characters if that is not 0."""
    line = " ".join(text.split())
    return line if not width or len(line) <= width else line[: width - 1] + "…"


def width_left(headings: Sequence[str], rows: Iterable[Sequence[str]], *, most: int = 0) -> int:
    """Return how many characters the last column may take beside the others; 0 for any.

    most: where there is no terminal, and beyond which it is not used.
    """
    width = line_width()
    if not width:
        return most
    columns = zip(*((row[:-1]) for row in (headings, *rows)), strict=True)
    left = max(width - sum(max(map(len, column)) + len(_GAP) for column in columns), _WIDTH_MIN)
    return min(left, most) if most else left


def line_width() -> int:
    """Return how many characters a line of values may take: the terminal's width, or 0 for any when there is none."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 message`, `4,124 messages`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size(number: float) -> str:
    """Return a number of bytes for people: `812 B`, `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
