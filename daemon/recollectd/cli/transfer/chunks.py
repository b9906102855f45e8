"""What the storing of each kind shares: numbered lines, the report, and errors that name the line at fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from recollectd.cli.transfer.failures import DataError
from recollectd.cli.transfer.lines import RecordLine
from recollectd.protocol.errors import InvalidArgument, RecollectdError, TooLarge

LineT = TypeVar("LineT", bound=RecordLine)
KeyT = TypeVar("KeyT", bound=Hashable)


class Numbered(NamedTuple, Generic[LineT]):
    """A record's line, and its number in the source."""

    number: int
    line: LineT


class Report(Struct):
    """What an import did, in numbers by kind. line: everything up to this line of the source is stored.

    there_already: left as they are. different: states among those whose value is another than the line's. replaced:
    states that got the line's value. expired: states whose time was over.
    """

    line: int = 0
    added: dict[str, int] = msgspec.field(default_factory=dict)
    there_already: dict[str, int] = msgspec.field(default_factory=dict)
    different: int = 0
    replaced: int = 0
    expired: int = 0

    def add(self, kind: str, number: int) -> None:
        """Count records that were added."""
        self.added[kind] = self.added.get(kind, 0) + number

    def skip(self, kind: str, number: int) -> None:
        """Count records that were there already."""
        self.there_already[kind] = self.there_already.get(kind, 0) + number


def of_kind(chunk: Iterable[Numbered[RecordLine]], kind: type[LineT]) -> list[Numbered[LineT]]:
    """Return the lines of one kind, in order."""
    return [Numbered(number, line) for number, line in chunk if isinstance(line, kind)]


def grouped(chunk: Iterable[Numbered[LineT]], key: Callable[[LineT], KeyT]) -> dict[KeyT, list[Numbered[LineT]]]:
    """Return the lines by what `key` says of them; groups by their first line, lines in order."""
    groups: dict[KeyT, list[Numbered[LineT]]] = {}
    for numbered in chunk:
        groups.setdefault(key(numbered.line), []).append(numbered)
    return groups


@contextmanager
def naming_lines(chunk: Sequence[Numbered[LineT]]) -> Iterator[None]:
    """Around a request made of these lines: what the client or daemon refuses about them is told with the line."""
    try:
        yield
    except (InvalidArgument, TooLarge) as error:
        raise data_error(chunk, error) from error


def data_error(chunk: Sequence[Numbered[LineT]], error: RecollectdError) -> DataError:
    """Return what is wrong with a line; the index in the error's field, if there is one, says with which."""
    index = re.search(r"\[(\d+)\]", error.field)
    at_fault = chunk[int(index[1])] if index and int(index[1]) < len(chunk) else chunk[0]
    return DataError(at_fault.number, str(error))


def same_value(left: object, right: object) -> bool:
    """Say whether two values are stored as the same bytes."""
    return msgspec.msgpack.encode(left) == msgspec.msgpack.encode(right)
