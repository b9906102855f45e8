"""Lines of other programs, and which of their fields is what: TARGET=FIELD pairs, used in both directions.

TARGET=FIELD takes a field of the line; TARGET==TEXT takes the text itself; TARGET=# takes the line's number. The same
pairs lead back: what a line's other fields cannot give back exactly is kept in the message's metadata under the
field's own name, so that the line that is written equals the line that was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from recollectd.cli.tagging import INT_MAX, INT_MIN
from recollectd.cli.transfer.failures import DataError

METADATA: Final = "metadata."
LINE_NUMBER: Final = "#"


class Source(NamedTuple):
    """Where a target's content comes from: a field, a constant text, or (both None) the line's number."""

    field: str | None = None
    constant: str | None = None


class MappingError(ValueError):
    """The pairs make no mapping."""


class FieldMap:
    """The pairs, checked against the targets that a kind has."""

    def __init__(self, pairs: Iterable[str], targets: Iterable[str], required: Iterable[str]) -> None:
        known = tuple(targets)
        self._sources: dict[str, Source] = {}
        for pair in pairs:
            target, source = _parse(pair)
            is_metadata = target.startswith(METADATA) and "metadata" in known
            if not is_metadata and (target not in known or target == "metadata"):
                names = ", ".join(f"{METADATA}NAME" if name == "metadata" else name for name in known)
                raise MappingError(f"{target!r} is not among the targets {names}")
            if target in self._sources:
                raise MappingError(f"{target} is mapped twice")
            self._sources[target] = source
        missing = [target for target in required if target not in self._sources]
        if missing:
            raise MappingError(f"nothing is mapped to {' and '.join(missing)}; add --map {missing[0]}=FIELD")
        self.metadata = {
            target.removeprefix(METADATA): source for target, source in self._sources.items() if _in_metadata(target)
        }
        self.direct = {target: source for target, source in self._sources.items() if not _in_metadata(target)}
        self.fields = {source.field: None for source in self._sources.values() if source.field is not None}

    def has(self, target: str) -> bool:
        """Say whether something is mapped to the target."""
        return target in self._sources

    def take(self, target: str, number: int, line: Mapping[str, Any]) -> Any:
        """Return the target's content, None where the line does not have it or holds null."""
        return take(self._sources[target], number, line)

    def text(self, target: str, number: int, line: Mapping[str, Any]) -> str:
        """Return the target's content as an id: text, or a whole number in digits. Raises DataError."""
        content = self.take(target, number, line)
        if isinstance(content, int) and not isinstance(content, bool):
            return str(content)
        if not isinstance(content, str) or not content:
            source = self._sources[target]
            raise DataError(number, f"{target} must be text that is not empty; {source.field!r} holds {content!r}")
        return content


def take(source: Source, number: int, line: Mapping[str, Any]) -> Any:
    """Return what a source stands for in this line."""
    if source.field is not None:
        return line.get(source.field)
    return number if source.constant is None else source.constant


def _in_metadata(target: str) -> bool:
    return target.startswith(METADATA)


def _parse(pair: str) -> tuple[str, Source]:
    target, equals, source = pair.partition("=")
    if not equals or not target or not source:
        raise MappingError(f"{pair!r}: expected TARGET=FIELD, TARGET==TEXT or TARGET=#")
    if source == LINE_NUMBER:
        return target, Source()
    if source.startswith("="):
        return target, Source(constant=source[1:])
    return target, Source(field=source)


def read_object(number: int, text: bytes) -> dict[str, Any]:
    """Return the JSON object of a line, all of which a store can hold. Raises DataError."""
    try:
        line = msgspec.json.decode(text)
        _check_integers(number, line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(number, str(error)) from None
    if not isinstance(line, dict):
        raise DataError(number, f"expected a JSON object, not {type(line).__name__}")
    return line


def _check_integers(number: int, value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _check_integers(number, item)
    elif isinstance(value, list):
        for item in value:
            _check_integers(number, item)
    elif isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        raise DataError(number, f"the number {value} does not fit 64 bits")


def same(left: Any, right: Any) -> bool:
    """Say whether two JSON values are one: 1, 1.0 and true are three."""
    return msgspec.json.encode(left) == msgspec.json.encode(right)
