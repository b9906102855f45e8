"""How a namespace is searched: the analysis of its texts, and whether its conversations' messages are found.

What a change makes out of date is indexed anew by a sweep in bounded steps (`memories/rebuilding.py`), whose place
stands in the settings' head. Until the last step has reached the view, searches that need it are busy.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import structs

from recollectd.memory.kind import (
    Description,
    Draft,
    Event,
    EventFunctions,
    Fetch,
    Head,
    KindSpec,
    Mark,
    Reading,
    ReadOperation,
    View,
    WriteOperation,
)
from recollectd.protocol import errors, table
from recollectd.protocol.messages import search_settings as messages
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import PUT, Family, Write, change_key, kind_prefix
from recollectd.storage.keywords.analysis import Analysis

MEMORIES: Final = "memories"
MESSAGES: Final = "messages"


class SearchHead(Head, frozen=True):
    """How a namespace is searched. The defaults are those of a namespace that nobody has configured.

    stage, place: what is being indexed anew, and how far; indexed: whether messages may be indexed;
    accesses: whether it is counted how often memories are found; vectors_due: whether the vectors of messages are to be
    told anew, too: those know no language.
    """

    language: str = "english"
    stemming: bool = True
    stop_words: bool = True
    messages: bool = False
    revision: int = 0
    stage: str = ""
    place: bytes = b""
    indexed: bool = False
    accesses: bool = False
    vectors_due: bool = False

    @property
    def analysis(self) -> Analysis:
        """How texts are analysed."""
        return Analysis(self.language, self.stemming, self.stop_words)


UNCONFIGURED: Final = SearchHead()
decode_head: Final = msgspec.msgpack.Decoder(SearchHead).decode


class SearchConfigured(Event, frozen=True, tag=65):
    """The settings were changed."""

    head: SearchHead


class SearchRebuilt(Event, frozen=True, tag=66):
    """A step of indexing anew. noted: what the view is told, as change rows say it."""

    head: SearchHead
    noted: tuple[bytes, ...]

    @property
    def alters(self) -> bool:
        """No record changes."""
        return False


def apply_configured(event: SearchConfigured, mark: Mark, writes: list[Write]) -> None:
    """Write the head, and tell the view of it."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))
    writes.append((PUT, Family.INDEX, change_key(mark.seq, event.key), b""))


def apply_rebuilt(event: SearchRebuilt, mark: Mark, writes: list[Write]) -> None:
    """Write the head, and tell the view of it and of what it must read."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.head)))
    writes.extend((PUT, Family.INDEX, change_key(mark.seq, noted), b"") for noted in (*event.noted, event.key))


def describe_configured(event: SearchConfigured) -> Description:
    """Say what happened."""
    return Description("configure", 0)


def describe_rebuilt(event: SearchRebuilt) -> Description:
    """Say what happened."""
    return Description("index", 0)


EVENTS: Final[dict[type[Event], EventFunctions]] = {
    SearchConfigured: (apply_configured, describe_configured),
    SearchRebuilt: (apply_rebuilt, describe_rebuilt),
}


def settings_key(namespace: tuple[str, ...]) -> bytes:
    """Return the key of a namespace's settings."""
    return kind_prefix(Kind.SEARCH_SETTINGS, namespace)


def _told(head: SearchHead) -> messages.SearchSettings:
    return messages.SearchSettings(
        head.language or messages.NO_LANGUAGE,
        head.stemming,
        head.stop_words,
        head.messages,
        bool(head.stage),
        head.accesses,
    )


class Configure(WriteOperation[messages.SearchConfigure]):
    """Changes the settings."""

    __slots__ = ("_given", "_key")

    def __init__(self, request: messages.SearchConfigure) -> None:
        super().__init__(request)
        self._key = settings_key(request.namespace)
        self.keys = (self._key,)
        language = "" if request.language == messages.NO_LANGUAGE else request.language
        if request.language == "":
            raise errors.InvalidArgument(f"must be a language or {messages.NO_LANGUAGE}", field="language")
        if language is not None:
            Analysis(language).check()
        given = {
            "language": language,
            "stemming": request.stemming,
            "stop_words": request.stop_words,
            "messages": request.messages,
            "accesses": request.accesses,
        }
        self._given: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

    def write(self, draft: Draft) -> messages.SearchSettings:
        """Note what must be indexed anew."""
        before: SearchHead = draft.get(self._key) or UNCONFIGURED
        after = structs.replace(before, **self._given)
        if after == before:
            return _told(before)
        stage, place = before.stage, before.place
        if after.analysis != before.analysis:
            stage, place = MEMORIES, b""
        elif after.messages != before.messages and stage != MEMORIES:
            stage, place = MESSAGES, b""
        indexed = before.indexed or after.messages
        due = after.messages and (before.vectors_due or not before.messages)
        after = structs.replace(after, revision=draft.seq, stage=stage, place=place, indexed=indexed, vectors_due=due)
        draft.put(self._key, after)
        draft.emit(SearchConfigured(self._key, after))
        return _told(after)


class Get(ReadOperation[messages.SearchSettingsGet]):
    """Reads the settings."""

    __slots__ = ("_key",)

    def __init__(self, request: messages.SearchSettingsGet) -> None:
        super().__init__(request)
        self._key = settings_key(request.namespace)
        self.keys = (self._key,)

    def read(self, view: View) -> Reading:
        """Fetch the head."""
        row = (yield Fetch(Family.HEADS, (self._key,)))[0]
        return _told(UNCONFIGURED if row is None else decode_head(row))


KIND: Final = KindSpec(
    kind=Kind.SEARCH_SETTINGS,
    head=SearchHead,
    events=EVENTS,
    follows={},
    writes={messages.SearchConfigure: Configure},
    reads={messages.SearchSettingsGet: Get},
)
