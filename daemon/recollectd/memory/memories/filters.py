"""The filter grammar: one parser, one evaluation, for lists, counts and every arm of a search.

The grammar and what each test means are in `recollectd.protocol.prose.FILTERS`, for the protocol document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from recollectd.memory.memories.heads import MemoryBody, MemoryHead
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.memories import Memory

EARTH_RADIUS_M: Final = 6_371_008.8

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>==|!=|<=|>=|[<>()\[\],.]))""",
    re.VERBOSE,
)
_SPEAKER: Final = re.compile(r"\s*([^\W\d_][\w .'-]{0,63}):\s")
_ASKS: Final = re.compile(r"[?\uff1f\u061f]\W*\Z")
_ENDING_CHARS: Final = 16  # so near to its end a question has its mark
_ABSENT: Final = object()
_NUMBER_DIGITS_MAX: Final = 400
_WORDS: Final = {"true": True, "false": False, "null": None}
_UNKNOWN: Final = {
    "'": "text stands in double quotes",
    '"': "text without its closing quote",
    "=": "`==` compares",
    "!": "it is `not`, or `!=`",
    "&": "it is `and`",
    "|": "it is `or`",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Subject:
    """A memory as filters see it."""

    __slots__ = ("_asks", "_metadata", "_speaker", "body", "head", "memory_id", "role", "told")

    def __init__(self, memory_id: str, head: MemoryHead, body: MemoryBody, role: str = "") -> None:
        self.memory_id = memory_id
        self.role = role  # of a message; a memory has none
        self.head = head
        self.body = body
        self._metadata: Any = _ABSENT
        self._speaker: str | None = None
        self._asks: bool | None = None
        self.told: Memory | None = None

    @property
    def speaker(self) -> str:
        """By whom the text says it was said, in lower case: what stands before its first colon; empty if nobody."""
        if self._speaker is None:
            match = _SPEAKER.match(self.body.text)
            self._speaker = match[1].lower() if match else ""
        return self._speaker

    @property
    def said(self) -> str:
        """The text without by whom it was said."""
        return self.body.text.partition(":")[2] if self.speaker else self.body.text

    @property
    def asks(self) -> bool:
        """Whether the text ends with a question; what may stand behind that in brackets is not looked at."""
        if self._asks is None:
            text = self.body.text.rstrip()
            if text.endswith("]"):
                text = text[: max(0, text.rfind("["))].rstrip()
            self._asks = _ASKS.search(text[-_ENDING_CHARS:]) is not None
        return self._asks

    def same_voice(self, other: Subject) -> bool:
        """Tell whether both are known to be said by the same."""
        return self.role == other.role and self.speaker == other.speaker and bool(self.role or self.speaker)

    @property
    def metadata(self) -> Any:
        """The metadata, decoded once."""
        if self._metadata is _ABSENT:
            raw = self.body.metadata
            self._metadata = {} if raw is None else msgspec.msgpack.decode(raw)
        return self._metadata


Predicate = Callable[[Subject], bool]
_Read = Callable[[Subject], Any]


def _told(value: Any) -> Any:
    return _ABSENT if value is None else value


_FIELDS: Final[dict[str, _Read]] = {
    "memory_id": lambda subject: subject.memory_id,
    "text": lambda subject: subject.body.text,
    "kind": lambda subject: subject.body.kind,
    "importance": lambda subject: _told(subject.body.importance),
    "pinned": lambda subject: subject.body.pinned,
    "valid_at": lambda subject: _told(subject.body.valid_at),
    "created_at": lambda subject: subject.head.created_at,
    "updated_at": lambda subject: subject.head.updated_at,
    "expires_at": lambda subject: subject.head.expires_at or _ABSENT,
    "forgotten_at": lambda subject: subject.head.forgotten_at or _ABSENT,
    "superseded_at": lambda subject: subject.head.superseded_at or _ABSENT,
    "superseded_by": lambda subject: subject.head.superseded_by or _ABSENT,
    "conversation_id": lambda subject: _told(subject.body.conversation_id),
    "derived_from": lambda subject: list(subject.body.derived_from),
    "version": lambda subject: subject.head.version,
    "role": lambda subject: subject.role or _ABSENT,
    "place": lambda subject: _ABSENT if subject.body.place is None else list(subject.body.place),
    "metadata": lambda subject: subject.metadata,
}
_TIMES: Final = frozenset(("valid_at", "created_at", "updated_at", "expires_at", "forgotten_at", "superseded_at"))
FIELD_NAMES: Final = tuple(_FIELDS)


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse(text: str) -> Predicate | None:
    """Return what a filter asks of a memory, None for the empty filter. Raises InvalidArgument with the place."""
    if not text.strip():
        return None
    if len(text.encode(errors="replace")) > limits.FILTER_BYTES_MAX:
        raise errors.InvalidArgument(f"has more than {limits.FILTER_BYTES_MAX} bytes", field="filter")
    return _Parser(text).whole()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            _refuse(_UNKNOWN.get(text[at], "what is this?"), text, at)
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    found.append(_Token("end", "", end))
    return found


def _refuse(why: str, text: str, at: int) -> NoReturn:
    near = text[at : at + 20]
    raise errors.InvalidArgument(
        f"{why} at character {at}{f', before {near!r}' if near else ', the end'}", field="filter"
    )


class _Parser:
    """Recursive descent, a method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> Predicate:
        predicate = self._filter()
        if self._next.kind != "end":
            self._refuse("expected `and`, `or` or the end")
        return predicate

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _refuse(self, why: str) -> NoReturn:
        _refuse(why, self._text, self._next.at)

    def _take(self, *texts: str) -> str:
        """Take the next token if it is one of these signs or words; "" if it is not."""
        token = self._next
        if token.kind in ("sign", "name") and token.text in texts:
            self._at += 1
            return token.text
        return ""

    def _demand(self, sign: str) -> None:
        if not self._take(sign):
            self._refuse(f"expected `{sign}`")

    def _filter(self) -> Predicate:
        self._depth += 1
        if self._depth > limits.FILTER_DEPTH_MAX:
            self._refuse(f"nested deeper than {limits.FILTER_DEPTH_MAX}")
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else lambda subject: any(part(subject) for part in parts)

    def _all(self) -> Predicate:
        parts = [self._part()]
        while self._take("and"):
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else lambda subject: all(part(subject) for part in parts)

    def _part(self) -> Predicate:
        negations = 0
        while self._take("not"):
            negations += 1
        if self._take("("):
            inner = self._filter()
            self._demand(")")
        else:
            inner = self._test()
        return inner if negations % 2 == 0 else lambda subject: not inner(subject)

    def _test(self) -> Predicate:
        name, read = self._field()
        if self._take("exists"):
            return lambda subject: read(subject) is not _ABSENT
        if self._take("within"):
            if name != "place":
                self._refuse("only `place` can be within")
            return self._within()
        operator = self._take(*_TESTS)
        if not operator:
            self._refuse("expected an operator")
        literal = self._literal()
        if operator == "in":
            if not isinstance(literal, list):
                self._refuse("`in` wants a list")
            literal = [self._moment(each) if name in _TIMES else each for each in literal]
        elif name in _TIMES:
            literal = self._moment(literal)
        test = _TESTS[operator]
        return lambda subject: test(read(subject), literal)

    def _field(self) -> tuple[str, _Read]:
        token = self._next
        if token.kind != "name" or token.text not in _FIELDS:
            self._refuse(f"expected one of {', '.join(_FIELDS)}")
        self._at += 1
        read = _FIELDS[token.text]
        if token.text != "metadata":
            return token.text, read
        keys: list[str] = []
        while sign := self._take(".", "["):
            part = self._next
            if part.kind != ("name" if sign == "." else "text"):
                self._refuse("expected the name of a metadata entry")
            self._at += 1
            keys.append(part.text if sign == "." else self._string(part))
            if sign == "[":
                self._demand("]")
        return token.text, lambda subject: _descend(subject.metadata, keys)

    def _within(self) -> Predicate:
        numbers = self._literal()
        if not (isinstance(numbers, list) and len(numbers) == 3 and all(map(_is_number, numbers))):
            self._refuse("`within` wants [latitude, longitude, metres]")
        latitude, longitude, metres = numbers
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 180 and metres >= 0):
            self._refuse("`within` wants degrees of latitude and longitude, and metres")

        def within(subject: Subject) -> bool:
            place = subject.body.place
            return place is not None and distance_m(place, (latitude, longitude)) <= metres

        return within

    def _literal(self) -> Any:
        token = self._next
        if token.kind == "text":
            self._at += 1
            return self._string(token)
        if token.kind == "number":
            if len(token.text) > _NUMBER_DIGITS_MAX:
                self._refuse(f"a number has at most {_NUMBER_DIGITS_MAX} digits")
            self._at += 1
            return float(token.text) if set(token.text) & set(".eE") else int(token.text)
        if token.kind == "name" and token.text in _WORDS:
            self._at += 1
            return _WORDS[token.text]
        if self._take("["):
            return self._list()
        self._refuse("expected a JSON string, number, true, false, null or list")

    def _list(self) -> list[Any]:
        self._depth += 1
        if self._depth > limits.FILTER_DEPTH_MAX:
            self._refuse(f"nested deeper than {limits.FILTER_DEPTH_MAX}")
        elements: list[Any] = []
        if not self._take("]"):
            elements.append(self._literal())
            while self._take(","):
                elements.append(self._literal())
            self._demand("]")
        self._depth -= 1
        return elements

    def _string(self, token: _Token) -> str:
        try:
            return msgspec.json.decode(token.text.encode(), type=str)
        except (msgspec.DecodeError, UnicodeError):
            _refuse("no JSON string", self._text, token.at)

    def _moment(self, literal: Any) -> Any:
        if not isinstance(literal, str):
            return literal
        try:
            moment = datetime.fromisoformat(literal)
        except ValueError:
            self._refuse(f"{literal!r} is no ISO-8601 time")
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        span = moment - _EPOCH
        return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def iso_day(time_us: int) -> str:
    """Return the day of a time, such as 2023-05-08."""
    return (_EPOCH + timedelta(microseconds=time_us)).date().isoformat()


def _descend(value: Any, keys: list[str]) -> Any:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool:
    """Tell whether two values are equal as filters see it."""
    if _is_number(left) or _is_number(right):
        return _is_number(left) and _is_number(right) and bool(left == right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return type(left) is type(right) and bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(value: Any, literal: Any) -> bool:
        alike = (_is_number(value) and _is_number(literal)) or (isinstance(value, str) and isinstance(literal, str))
        return alike and compare(value, literal)

    return test


def _contains(value: Any, literal: Any) -> bool:
    if isinstance(value, list):
        return any(equal(each, literal) for each in value)
    return isinstance(value, str) and isinstance(literal, str) and literal in value


_TESTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": equal,
    "!=": lambda value, literal: not equal(value, literal),
    "<": _ordered(lambda value, literal: bool(value < literal)),
    "<=": _ordered(lambda value, literal: bool(value <= literal)),
    ">": _ordered(lambda value, literal: bool(value > literal)),
    ">=": _ordered(lambda value, literal: bool(value >= literal)),
    "in": lambda value, literal: any(equal(value, each) for each in literal),
    "contains": _contains,
}


def distance_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the great-circle distance of two places (latitude, longitude in degrees) in metres, by haversines."""
    latitude, longitude = math.radians(one[0]), math.radians(one[1])
    other_latitude, other_longitude = math.radians(other[0]), math.radians(other[1])
    half = (
        math.sin((other_latitude - latitude) / 2) ** 2
        + math.cos(latitude) * math.cos(other_latitude) * math.sin((other_longitude - longitude) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(half)))
