"""Messages about how a namespace is searched. Tags 108-109 (requests), 108 (replies)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from recollectd.protocol.messages.fields import Namespace, Reply, Request, Write

NO_LANGUAGE = "none"


class SearchConfigure(Write, frozen=True, tag=108):
    """Sets how a namespace, and none below it, is searched. Answered by `SearchSettings`.

    What the change makes out of date is indexed anew in the background; until then searches by words are `BUSY`.
    """

    namespace: Namespace
    language: Annotated[
        str | None, Meta(description="of texts and queries: a Snowball stemmer's, or `none`; nil: as it was")
    ] = None
    stemming: Annotated[bool | None, Meta(description="whether forms of a word are one; nil: as it was")] = None
    stop_words: Annotated[bool | None, Meta(description="whether words that say nothing are left out")] = None
    messages: Annotated[bool | None, Meta(description="whether messages of conversations are found, too")] = None
    accesses: Annotated[bool | None, Meta(description="whether it is counted how often memories are found")] = None


class SearchSettingsGet(Request, frozen=True, tag=109):
    """Asks how a namespace is searched. Answered by `SearchSettings`."""

    namespace: Namespace


class SearchSettings(Reply, frozen=True, tag=108):
    """Answers `SearchConfigure` and `SearchSettingsGet`."""

    language: Annotated[str, Meta(description="a Snowball stemmer's, or `none`")]
    stemming: Annotated[bool, Meta(description="whether forms of a word are one")]
    stop_words: Annotated[bool, Meta(description="whether words that say nothing are left out")]
    messages: Annotated[bool, Meta(description="whether messages of conversations are found, too")]
    indexing: Annotated[bool, Meta(description="whether something is being indexed anew")]
    accesses: Annotated[bool, Meta(description="whether it is counted how often memories are found")] = False
