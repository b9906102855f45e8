"""From lines of other programs to records, and back, by a mapping of fields."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from recollectd.cli.inputs import parse_time
from recollectd.cli.transfer.failures import DataError
from recollectd.cli.transfer.lines import ConversationLine, LogLine, MessageLine, RecordLine, StateLine, check_message
from recollectd.cli.transfer.mapping import FieldMap, MappingError, Source, same, take
from recollectd.cli.transfer.roles import Roles
from recollectd.cli.transfer.sources import derived_id

IMPORTED: Final = "imported"  # the conversation's metadata that tells of its import
DROPPED_NAMES_MAX: Final = 20


class ConversationRules(NamedTuple):
    """How lines become messages, beside the fields' mapping.

    source: the name that derived ids are made of. time_format: of strptime, UTC where it has no zone; None: ISO-8601
    or seconds. keep_rest: fields that are not mapped go to the metadata. empty_content: what stands for empty content,
    None: refused. id_field: the field that identifies a line without message_id, None: the line's number.
    """

    source: str
    roles: Roles
    time_format: str | None = None
    keep_rest: bool = False
    empty_content: str | None = None
    id_field: str | None = None


class ConversationMapping:
    """Lines that are messages of conversations."""

    TARGETS: Final = ("conversation_id", "message_id", "role", "content", "valid_at", "metadata")
    REQUIRED: Final = ("conversation_id", "role", "content")

    def __init__(self, pairs: Iterable[str], rules: ConversationRules) -> None:
        self._map = FieldMap(pairs, self.TARGETS, self.REQUIRED)
        if self._map.has("message_id") and rules.id_field is not None:
            raise MappingError("a mapped message_id identifies the line; --id-field is for lines without one")
        self._rules = rules
        self._known: set[str] = set()
        # The name in the metadata that holds the number of a message's line, if the mapping keeps it.
        self.line_number = next((name for name, source in self._map.metadata.items() if source == Source()), None)
        self.dropped: dict[str, None] = {}

    # -- in ---------------------------------------------------------------------------------------------------------

    def read(self, number: int, line: Mapping[str, Any]) -> list[RecordLine]:
        """Return the line's message, and its conversation before it when this is the first that is seen of it."""
        message = self._message(number, line)
        check_message(number, message)
        conversation_id = message.conversation_id
        if conversation_id in self._known:
            return [message]
        self._known.add(conversation_id)
        about: dict[str, Any] = {"source": self._rules.source, "line": number}
        user = self._rules.roles.user(conversation_id)
        if user is not None:
            about["user"] = user
        return [ConversationLine(conversation_id=conversation_id, metadata={IMPORTED: about}), message]

    def _message(self, number: int, line: Mapping[str, Any]) -> MessageLine:
        fields = self._map
        conversation_id = fields.text("conversation_id", number, line)
        content = fields.take("content", number, line)
        if content in (None, "") and self._rules.empty_content is not None:
            content = self._rules.empty_content
        if not isinstance(content, str):
            raise DataError(number, f"the content must be text, not {content!r}")
        speaker = fields.take("role", number, line)
        message = MessageLine(
            conversation_id=conversation_id,
            message_id=self._message_id(number, line),
            role=self._rules.roles.role(number, conversation_id, speaker),
            content=content,
            valid_at=self._valid_at(number, line),
        )
        return self._with_metadata(number, line, message)

    def _message_id(self, number: int, line: Mapping[str, Any]) -> str:
        if self._map.has("message_id"):
            return self._map.text("message_id", number, line)
        if self._rules.id_field is None:
            return derived_id(self._rules.source, str(number))
        identity = line.get(self._rules.id_field)
        if identity is None:
            raise DataError(number, f"there is no {self._rules.id_field!r} to identify the line by")
        return derived_id(self._rules.source, str(identity))

    def _valid_at(self, number: int, line: Mapping[str, Any]) -> str | None:
        given = self._map.take("valid_at", number, line) if self._map.has("valid_at") else None
        if given is None:
            return None
        try:
            time = _read_time(str(given), self._rules.time_format)
        except ValueError as error:
            raise DataError(number, f"valid_at: {error}") from None
        if time.timestamp() < 0:
            raise DataError(number, f"valid_at: {given!r} lies before 1970, which a store's times cannot say")
        return time.isoformat().replace("+00:00", "Z")

    def _with_metadata(self, number: int, line: Mapping[str, Any], message: MessageLine) -> MessageLine:
        """Add what is mapped to metadata, what is kept on request, and what would not come back exactly otherwise."""
        metadata = {
            name: take(source, number, line)
            for name, source in self._map.metadata.items()
            if source.field is None or source.field in line
        }
        exact = {source.field for source in self._map.metadata.values()}
        derived = self._direct(message)
        for field, content in line.items():
            if field in exact:
                continue
            if field not in self._map.fields and not self._rules.keep_rest:
                self._drop(field)
            elif field not in derived or not same(derived[field], content):
                if field in self._map.metadata:
                    raise DataError(number, f"metadata.{field} would have to hold two fields; map one to another name")
                metadata[field] = content
        return msgspec.structs.replace(message, metadata=metadata or None)

    def _drop(self, field: str) -> None:
        if len(self.dropped) < DROPPED_NAMES_MAX:
            self.dropped[field] = None

    # -- out --------------------------------------------------------------------------------------------------------

    def write(self, message: MessageLine) -> dict[str, Any]:
        """Return the line that `read` made this message from."""
        metadata = message.metadata or {}
        line = self._direct(message)
        for field in self._map.fields:
            if field in metadata and field not in self._map.metadata:
                line[field] = metadata[field]
        for name, source in self._map.metadata.items():
            if source.field is not None and name in metadata:
                line[source.field] = metadata[name]
        if self._rules.keep_rest:
            for name, content in metadata.items():
                if name not in self._map.metadata:
                    line[name] = content
        return line

    def _direct(self, message: MessageLine) -> dict[str, Any]:
        """Return the fields that a message's own parts give back."""
        parts = {
            "conversation_id": message.conversation_id,
            "message_id": message.message_id,
            "content": message.content,
            "role": self._rules.roles.speaker(message.role),
            "valid_at": self._shown_time(message.valid_at),
        }
        return {
            source.field: parts[target]
            for target, source in self._map.direct.items()
            if source.field is not None and parts[target] is not None
        }

    def _shown_time(self, valid_at: str | None) -> str | None:
        if valid_at is None or self._rules.time_format is None:
            return valid_at
        return datetime.fromisoformat(valid_at).strftime(self._rules.time_format)


@functools.lru_cache(maxsize=1_024)  # lines of one session share their time, and strptime is slow
def _read_time(text: str, time_format: str | None) -> datetime:
    if time_format is None:
        return parse_time(text).astimezone(UTC)
    time = datetime.strptime(text, time_format)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class ValueMapping:
    """Lines that are state records (kind `state`, identified by key) or items of logs (kind `log`, by log_id).

    The value is the whole line, unless a field is mapped to it. An item's position is its number among the lines of
    its log.
    """

    def __init__(self, kind: Literal["state", "log"], pairs: Iterable[str]) -> None:
        self.kind: Final = kind
        self._id = "key" if kind == "state" else "log_id"
        self._map = FieldMap(pairs, (self._id, "value"), (self._id,))
        self._next: Counter[str] = Counter()
        self.dropped: dict[str, None] = {}

    def read(self, number: int, line: Mapping[str, Any]) -> list[RecordLine]:
        """Return the line's record. Raises DataError."""
        identity = self._map.text(self._id, number, line)
        value: Any = dict(line)
        if self._map.has("value"):
            value = self._map.take("value", number, line)
            self.dropped.update({field: None for field in line if field not in self._map.fields})
        if self._id == "key":
            return [StateLine(key=identity, value=value)]
        position = self._next[identity]
        self._next[identity] += 1
        return [LogLine(log_id=identity, position=position, value=value)]

    def write(self, identity: str, value: Any) -> Any:
        """Return the line that `read` made this record from."""
        if not self._map.has("value"):
            return value
        parts = {self._id: identity, "value": value}
        return {source.field: parts[target] for target, source in self._map.direct.items() if source.field is not None}
