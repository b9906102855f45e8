"""The protocol document is current and complete."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

from recollectd.protocol import documentation, errors, limits, table

DOCUMENT: Final = Path(__file__).parents[2] / "daemon" / "PROTOCOL.md"


def test_the_document_is_current(rewrite: bool) -> None:
    if rewrite:
        DOCUMENT.write_text(documentation.document())
    command = "python -m recollectd.protocol.documentation > daemon/PROTOCOL.md"
    assert DOCUMENT.read_text() == documentation.document(), f"run: {command}"


def test_everything_declared_is_in_it() -> None:
    text = DOCUMENT.read_text()
    headings = [line for line in text.splitlines() if line.startswith("#### ")]
    for message in table.REQUEST_TYPES:
        assert [
            line for line in headings if line.startswith(f"#### Request {table.tag_of(message)}: `{message.__name__}`")
        ]
    for message in table.REPLY_TYPES:
        assert f"#### Reply {table.tag_of(message)}: `{message.__name__}`" in headings
    for structure in documentation.structures():
        assert [line for line in headings if line.startswith("#### Structure") and f"`{structure.__name__}`" in line]
    for error in errors.ERRORS:
        assert f"| {error.row.code} | `{error.row.name}` | {error.row.retry.value} |" in text
    for name, value in limits.table().items():
        assert f"| `{name}` | {value} |" in text


def test_every_field_is_explained() -> None:
    declared = (*table.REQUEST_TYPES, *table.REPLY_TYPES, *documentation.structures())
    unexplained = [
        f"{structure.__name__}.{field.name}"
        for structure in declared
        for field in documentation.fields_of(structure)
        if not field.meaning
    ]
    assert unexplained == []


def test_every_declared_message_is_in_the_table() -> None:
    """A message declared in the files of messages, but left out of the table, would never be dispatched."""
    declared = {
        value
        for _, module in documentation.SECTIONS
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Struct) and value.__module__ == module.__name__
    }
    assert declared == {*table.REQUEST_TYPES, *table.REPLY_TYPES, *documentation.structures()}
