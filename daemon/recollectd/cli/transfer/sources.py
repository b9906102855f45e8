"""Lines of a file or stream, one at a time, with their numbers."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from recollectd.cli.transfer.failures import DataError
from recollectd.protocol import limits

LINE_BYTES_MAX: Final = 8 * limits.VALUE_BYTES_MAX  # JSON writes a control character as six bytes


class SourceLine(NamedTuple):
    """number: from 1, blank lines counted; end: bytes of the source up to and with this line."""

    number: int
    text: bytes
    end: int


def source_lines(stream: BinaryIO) -> Iterator[SourceLine]:
    """Yield the lines that are not blank, without their ends. Raises DataError for one that is too long."""
    end = 0
    number = 0
    while text := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        end += len(text)
        if len(text) > LINE_BYTES_MAX:
            raise DataError(number, f"the line is longer than {LINE_BYTES_MAX} bytes")
        if number == 1:
            text = text.removeprefix(codecs.BOM_UTF8)
        text = text.strip()
        if text:
            yield SourceLine(number, text, end)


def derived_id(source: str, identity: str) -> str:
    """Return the message_id of a line that brings none: the same for the same source and identity, always.

    identity: the line's number, or what the field of `--id-field` holds. Do not change: a second import knows by these
    ids what is there already.
    """
    digest = hashlib.blake2b(f"{source}\0{identity}".encode(), digest_size=16)
    return f"import-{digest.hexdigest()}"
