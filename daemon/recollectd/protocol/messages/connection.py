"""Messages about the connection and the daemon itself. Tags 1-15 (requests), 1-15 (replies)."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from recollectd.protocol import limits
from recollectd.protocol.messages.fields import (
    Count,
    Cursor,
    JournalPosition,
    Namespace,
    PageLimit,
    Reply,
    Request,
    Time,
    Write,
)


class Hello(Request, frozen=True, tag=1):
    """Opens a connection; the first message, once. Answered by `Welcome`."""

    protocol_min: Annotated[int, Meta(ge=0, description="the oldest protocol version the client speaks")]
    protocol_max: Annotated[int, Meta(ge=0, description="the newest protocol version the client speaks")]
    client_name: Annotated[str, Meta(description="for the daemon's log and status")] = ""
    session_id: Annotated[
        bytes, Meta(description=f"{limits.SESSION_ID_BYTES} bytes to go on with a session, empty for a new one")
    ] = b""
    idle_timeout_ms: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="end the connection after so long without a frame; 0 never, nil default"),
    ] = None
    features: Annotated[tuple[str, ...], Meta(description="features the client would use")] = ()


class Welcome(Reply, frozen=True, tag=1):
    """Answers `Hello`."""

    protocol: Annotated[int, Meta(description="the protocol version both will speak")]
    server_version: Annotated[str, Meta(description="the daemon's version")]
    store_id: Annotated[bytes, Meta(description="16 bytes naming this store for ever")]
    session_id: Annotated[bytes, Meta(description="the session that the connection's numbers count in")]
    principal: Annotated[str, Meta(description="who the daemon takes the client for")]
    position: JournalPosition
    limits: Annotated[dict[str, int], Meta(description="every limit in force, by name")]
    features: Annotated[tuple[str, ...], Meta(description="features this daemon has")] = ()


class Ping(Request, frozen=True, tag=2):
    """Asks for a sign of life. Answered by `Pong`."""


class Pong(Reply, frozen=True, tag=2):
    """Answers `Ping`."""

    time: Time


class StatusRequest(Request, frozen=True, tag=3):
    """Asks how the daemon is. Answered by `Status`."""

    namespaces: Annotated[bool, Meta(description="also count records by namespace: walks every head")] = False


class Status(Reply, frozen=True, tag=3):
    """Answers `StatusRequest`."""

    status: Annotated[dict[str, Any], Meta(description="sections by name; made for people and programs, may grow")]


class NamespaceConfigure(Write, frozen=True, tag=4):
    """Sets how much history the state records of a namespace and all below it keep. Answered by `Done`.

    The longest configured prefix of a namespace decides. Takes effect at a record's next change and, for age, by a
    slow sweep.
    """

    namespace: Namespace
    history_count: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="versions kept per record, the newest included; nil: unlimited"),
    ]
    history_age_us: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="how long a version is kept; nil: unlimited")
    ]


class Done(Reply, frozen=True, tag=4):
    """The request was carried out; there is nothing else to say."""


class NamespaceList(Request, frozen=True, tag=5):
    """Asks for the namespaces that have records, vector spaces or settings of search. Answered by `NamespacePage`."""

    prefix: Annotated[tuple[str, ...], Meta(description="only namespaces beginning with these labels")] = ()
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    cursor: Cursor = b""


class NamespacePage(Reply, frozen=True, tag=5):
    """Answers `NamespaceList`."""

    namespaces: Annotated[tuple[tuple[str, ...], ...], Meta(description="one array of labels each")]
    cursor: Cursor


class Deleted(Reply, frozen=True, tag=6):
    """Answers deletes."""

    deleted: Annotated[int, Meta(ge=0, description="records deleted: 0 when there was none")]
    done: Annotated[bool, Meta(description="false: more is left, go on with the cursor")] = True
    cursor: Cursor = b""


class Counted(Reply, frozen=True, tag=7):
    """Answers counts: add up until the cursor is empty."""

    count: Count
    cursor: Cursor
    valid_until: Time = limits.TIME_US_MAX


class ErrorReply(Reply, frozen=True, tag=15):
    """Says why a request was not carried out. Codes are in the table of errors."""

    code: Annotated[int, Meta(description="see the table of errors")]
    message: Annotated[str, Meta(description="what happened, for people")]
    field: Annotated[str, Meta(description="the request's field at fault, or empty")] = ""
    retry_after_ms: Annotated[int, Meta(description="when to try again; 0: not said")] = 0
    error_id: Annotated[str, Meta(description="for internal errors: the id in the daemon's log")] = ""
