"""Messages about erasing what was deleted from the files of searches. Tag 126 of requests and replies."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from recollectd.protocol.messages.fields import Reply, Request


class Erase(Request, frozen=True, tag=126):
    """Asks that no byte of memories deleted or replaced so far stay in the files of the keyword and vector views.

    Answered by `ErasureState` at once; it is done when `erased_seq` has reached `asked_seq`.
    """

    ask: Annotated[bool, Meta(description="false: only tell how it stands")] = True


class ErasureState(Reply, frozen=True, tag=126):
    """Answers `Erase`."""

    asked_seq: Annotated[int, Meta(ge=0, description="what commits up to this deleted is to be erased")]
    erased_seq: Annotated[int, Meta(ge=0, description="what commits up to this deleted is erased, since the start")]
    running: Annotated[bool, Meta(description="it is under way")]
    failure: Annotated[str, Meta(description="why the last attempt did not succeed; there is another in a minute")] = ""
