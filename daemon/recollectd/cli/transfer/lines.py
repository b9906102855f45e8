"""recollectd's own lines: one JSON object each, the format of `export` and `import`. Do not change: files hold them.

    {"kind": "export", "format": 1, "version": "0.1.0", "exported_at": "2026-01-31T12:00:00Z"}
    {"kind": "state", "namespace": ["acme"], "key": "profile", "value": {"name": "Ada"}, "version": 3, ...}
    {"kind": "log", "namespace": ["acme"], "log_id": "steps", "position": 0, "value": "began", "stored_at": ...}
    {"kind": "conversation", "namespace": ["acme"], "conversation_id": "c-1", "metadata": {"topic": "travel"}, ...}
    {"kind": "vector_space", "namespace": ["acme"], "name": "mini", "dimensions": 384, "metric": "cosine", ...}
    {"kind": "search_settings", "namespace": ["acme"], "language": "german", "messages": true, ...}
    {"kind": "memory", "namespace": ["acme"], "memory_id": "m-1", "text": "Ada likes tea", "vectors": {...}, ...}
    {"kind": "message", "namespace": ["acme"], "conversation_id": "c-1", "message_id": "m-1", "role": "user", ...}

Values and metadata are tagged as `recollectd.cli.tagging` says. A line without a namespace belongs to the one that
the import names. Versions and the daemon's own times (created_at, updated_at, stored_at, timestamp, last_used_at,
total_messages) tell a reader what was; an import does not set them, as a store gives its own. `expires_at` and
`valid_at` are taken over.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from recollectd.cli.tagging import TagError, from_json, to_json
from recollectd.cli.transfer.failures import DataError
from recollectd.protocol import limits

FORMAT: Final = 1

Labels = tuple[str, ...]


class Line(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """Base of lines."""


class ExportLine(Line, frozen=True, kw_only=True, tag="export"):
    """Begins an export."""

    format: int
    version: str = ""
    exported_at: str = ""


class StateLine(Line, frozen=True, kw_only=True, tag="state"):
    """A state record."""

    namespace: Labels | None = None
    key: str
    value: Any
    version: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    expires_at: str | None = None


class LogLine(Line, frozen=True, kw_only=True, tag="log"):
    """An item of a log."""

    namespace: Labels | None = None
    log_id: str
    position: int
    value: Any
    stored_at: str | None = None


class ConversationLine(Line, frozen=True, kw_only=True, tag="conversation"):
    """A conversation; its messages follow."""

    namespace: Labels | None = None
    conversation_id: str
    created_at: str | None = None
    last_used_at: str | None = None
    total_messages: int | None = None
    metadata: dict[str, Any] | None = None


class MessageLine(Line, frozen=True, kw_only=True, tag="message"):
    """A message of a conversation. Without message_id it gets one from the source's name and the line's number.

    vectors: by space, unless they are beside the lines.
    """

    namespace: Labels | None = None
    conversation_id: str
    message_id: str | None = None
    role: str
    content: str
    timestamp: str | None = None
    valid_at: str | None = None
    metadata: dict[str, Any] | None = None
    vectors: dict[str, list[float]] | None = None


class VectorSpaceLine(Line, frozen=True, kw_only=True, tag="vector_space"):
    """A vector space, or an alias of one."""

    namespace: Labels | None = None
    name: str
    dimensions: int
    metric: str = "cosine"
    precision: str = "i8"
    model: str = ""
    created_at: str | None = None
    alias_of: str = ""


class SearchSettingsLine(Line, frozen=True, kw_only=True, tag="search_settings"):
    """How a namespace is searched, where it was ever told."""

    namespace: Labels | None = None
    language: str = "english"
    stemming: bool = True
    stop_words: bool = True
    messages: bool = False
    accesses: bool = False


class MemoryLine(Line, frozen=True, kw_only=True, tag="memory"):
    """A memory, with its vectors by space, unless they are beside the lines; `memory_kind` is what sort it is."""

    namespace: Labels | None = None
    memory_id: str
    text: str
    memory_kind: str = ""
    metadata: dict[str, Any] | None = None
    importance: float | None = None
    pinned: bool = False
    valid_at: str | None = None
    place: tuple[float, float] | None = None
    derived_from: tuple[str, ...] = ()
    conversation_id: str | None = None
    vectors: dict[str, list[float]] | None = None
    version: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    expires_at: str | None = None
    forgotten_at: str | None = None
    superseded_at: str | None = None
    superseded_by: str | None = None


RecordLine = StateLine | LogLine | ConversationLine | MessageLine | VectorSpaceLine | SearchSettingsLine | MemoryLine


_decoder: Final = msgspec.json.Decoder(ExportLine | RecordLine)


def read_line(number: int, text: bytes) -> RecordLine | None:
    """Return what a line says; None for the line that begins an export. Raises DataError."""
    try:
        line: ExportLine | RecordLine = _decoder.decode(text)
        if isinstance(line, ExportLine):
            if line.format > FORMAT:
                raise DataError(number, f"the export has format {line.format}; this version reads up to {FORMAT}")
            return None
        if isinstance(line, StateLine | LogLine):
            line = msgspec.structs.replace(line, value=from_json(line.value))
        elif not isinstance(line, VectorSpaceLine | SearchSettingsLine) and line.metadata is not None:
            line = msgspec.structs.replace(line, metadata=_metadata(number, line.metadata))
    except (msgspec.DecodeError, UnicodeDecodeError, TagError, RecursionError) as error:
        raise DataError(number, str(error)) from None
    if isinstance(line, MessageLine):
        check_message(number, line)
    return line


def _metadata(number: int, tagged: dict[str, Any]) -> dict[str, Any]:
    metadata = from_json(tagged)
    if not isinstance(metadata, dict) or not all(isinstance(key, str) for key in metadata):
        raise DataError(number, "metadata must be a map with text keys")
    return metadata


def check_message(number: int, line: MessageLine) -> None:
    """Refuse by line what the daemon would refuse with the whole batch the line travels in. Raises DataError."""
    if line.role not in ("user", "assistant"):
        raise DataError(number, f"the role must be user or assistant, not {line.role!r}")
    if not line.content:
        raise DataError(number, "the content is empty")
    if len(line.content) > limits.CONTENT_BYTES_MAX // 4:  # UTF-8 takes at most 4 bytes a character
        size = len(line.content.encode())
        if size > limits.CONTENT_BYTES_MAX:
            raise DataError(number, f"the content has {size} bytes; {limits.CONTENT_BYTES_MAX} are allowed")


def write_line(line: ExportLine | RecordLine) -> bytes:
    """Return the line's text, its end included."""
    if isinstance(line, StateLine | LogLine):
        line = msgspec.structs.replace(line, value=to_json(line.value))
    elif isinstance(line, ConversationLine | MessageLine | MemoryLine) and line.metadata is not None:
        line = msgspec.structs.replace(line, metadata=to_json(line.metadata))
    return msgspec.json.encode(line) + b"\n"
