"""Every error of the protocol, declared once: code, name, meaning, hint, and whether a retry helps.

    RecollectdError
    ├── ProtocolError      1xx  the conversation itself went wrong
    ├── RequestError       2xx  the request cannot be fulfilled as it is
    ├── CapacityError      3xx  not now
    ├── ClientError        8xx  raised by a client, never sent
    └── InternalError      9xx  a defect of the daemon; its id is in the daemon's log

The exception classes are made from the table below it, so that code, documentation and classes cannot part.
Do not change codes: clients in other languages know them.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Final, NamedTuple


class Retry(Enum):
    """Whether sending the same request again can help."""

    NO = "no"
    LATER = "later"  # the same request, after the time given or a moment
    CHANGED = "changed"  # after reading again and deciding again


class ErrorCode(NamedTuple):
    """One row of the table."""

    code: int
    name: str
    meaning: str
    hint: str
    retry: Retry


class RecollectdError(Exception):
    """Base of everything recollectd raises on purpose.

    message: what happened, with the values that matter; field: the request's field at fault, or "";
    retry_after_ms: when the daemon said so, else 0; error_id: for internal errors, the id in the daemon's log.
    """

    row: ClassVar[ErrorCode] = ErrorCode(0, "ERROR", "Any error.", "", Retry.NO)

    def __init__(self, message: str = "", *, field: str = "", retry_after_ms: int = 0, error_id: str = "") -> None:
        super().__init__(message or self.row.meaning)
        self.message = message or self.row.meaning
        self.field = field
        self.retry_after_ms = retry_after_ms
        self.error_id = error_id

    @property
    def code(self) -> int:
        """The stable number of this error."""
        return self.row.code

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.row.hint

    def __str__(self) -> str:
        where = f" (field {self.field})" if self.field else ""
        number = f" [error id {self.error_id}]" if self.error_id else ""
        return f"{self.message}{where}{number}"


class ProtocolError(RecollectdError):
    """The conversation between client and daemon went wrong."""


class RequestError(RecollectdError):
    """The request cannot be fulfilled as it is."""


class CapacityError(RecollectdError):
    """The daemon will not do this now."""


class ClientError(RecollectdError):
    """Raised by the client itself; never sent over the wire."""


class MalformedFrame(ProtocolError):
    row = ErrorCode(
        100,
        "MALFORMED_FRAME",
        "The byte stream cannot be cut into frames; the connection ends.",
        "Check the frame header's layout and the length field.",
        Retry.NO,
    )


class UnknownMessage(ProtocolError):
    row = ErrorCode(
        101,
        "UNKNOWN_MESSAGE",
        "The message's tag is not one this daemon knows.",
        "Ask for the features in the handshake; a newer client may be speaking to an older daemon.",
        Retry.NO,
    )


class InvalidMessage(ProtocolError):
    row = ErrorCode(
        102,
        "INVALID_MESSAGE",
        "The message is not well-formed msgpack or a field has the wrong type.",
        "Compare the named field with the protocol document.",
        Retry.NO,
    )


class UnsupportedProtocol(ProtocolError):
    row = ErrorCode(
        103,
        "UNSUPPORTED_PROTOCOL",
        "Client and daemon have no protocol version in common.",
        "Upgrade the older side.",
        Retry.NO,
    )


class HandshakeRequired(ProtocolError):
    row = ErrorCode(
        104,
        "HANDSHAKE_REQUIRED",
        "The first message of a connection must be a hello, and there is only one.",
        "Send the preamble and a hello first.",
        Retry.NO,
    )


class InvalidArgument(RequestError):
    row = ErrorCode(
        200,
        "INVALID_ARGUMENT",
        "A field's value is outside what is allowed.",
        "The message says what is allowed.",
        Retry.NO,
    )


class NotFound(RequestError):
    row = ErrorCode(
        201,
        "NOT_FOUND",
        "What the request needs does not exist.",
        "Create it first, or check namespace and id.",
        Retry.NO,
    )


class VersionConflict(RequestError):
    row = ErrorCode(
        202,
        "VERSION_CONFLICT",
        "The record is not at the version the request expected.",
        "Read the record again and decide again.",
        Retry.CHANGED,
    )


class AlreadyExists(RequestError):
    row = ErrorCode(
        203,
        "ALREADY_EXISTS",
        "A record with this id exists.",
        "Use the existing one, or choose another id.",
        Retry.NO,
    )


class TransactionConflict(RequestError):
    row = ErrorCode(
        204,
        "TRANSACTION_CONFLICT",
        "Something the transaction read has changed since.",
        "Run the transaction again from its reads; client.transact does.",
        Retry.CHANGED,
    )


class CrossShard(RequestError):
    row = ErrorCode(
        205,
        "CROSS_SHARD",
        "The operations' namespaces differ in their first labels, so they may not share a transaction.",
        "Keep what must change together under the same first label.",
        Retry.NO,
    )


class InvalidCursor(RequestError):
    row = ErrorCode(
        206,
        "INVALID_CURSOR",
        "The cursor is damaged, or belongs to another query or another store.",
        "Start again without a cursor.",
        Retry.NO,
    )


class HistoryPruned(RequestError):
    row = ErrorCode(
        207,
        "HISTORY_PRUNED",
        "The version or time asked for lies before the history that is kept.",
        "Keep more history for this namespace if you need it.",
        Retry.NO,
    )


class OutcomeUnknown(RequestError):
    row = ErrorCode(
        208,
        "OUTCOME_UNKNOWN",
        "The write's number lies below what its session still remembers; it was not executed now.",
        "If this was a retry, read to see whether the first attempt took effect.",
        Retry.NO,
    )


class NumberReused(RequestError):
    row = ErrorCode(
        209,
        "NUMBER_REUSED",
        "Another request was already sent under this session and number.",
        "Numbers are given once; a retry repeats the request to the byte.",
        Retry.NO,
    )


class SessionForeign(RequestError):
    row = ErrorCode(
        210,
        "SESSION_FOREIGN",
        "The session belongs to another principal.",
        "Say hello without a session id to get one.",
        Retry.NO,
    )


class Resync(RequestError):
    row = ErrorCode(
        211,
        "RESYNC",
        "The watch cannot go on from that position: it is trimmed, or the watcher was too slow.",
        "Read what you need afresh and watch from the position of that read.",
        Retry.CHANGED,
    )


class TooLarge(RequestError):
    row = ErrorCode(
        212,
        "TOO_LARGE",
        "The request, or what it would write, is over a limit.",
        "The message names the limit; send less at once.",
        Retry.NO,
    )


class Busy(CapacityError):
    row = ErrorCode(
        300,
        "BUSY",
        "A queue of the daemon is full; nothing was executed.",
        "Wait the time given and send the request again.",
        Retry.LATER,
    )


class DiskFull(CapacityError):
    row = ErrorCode(
        301,
        "DISK_FULL",
        "The disk has too little room for writes; deletes are still accepted.",
        "Free room on the data folder's file system, or delete records.",
        Retry.LATER,
    )


class TooManyConnections(CapacityError):
    row = ErrorCode(
        302,
        "TOO_MANY_CONNECTIONS",
        "The daemon has as many connections as it allows.",
        "Share a client between threads, or raise connections_max.",
        Retry.LATER,
    )


class DeadlineExceeded(CapacityError):
    row = ErrorCode(
        303,
        "DEADLINE_EXCEEDED",
        "The request's deadline passed before it was started; nothing was executed.",
        "Give it more time, or find out why the daemon is slow.",
        Retry.LATER,
    )


class ShuttingDown(CapacityError):
    row = ErrorCode(
        304,
        "SHUTTING_DOWN",
        "The daemon is stopping; nothing was executed.",
        "Connect again in a moment.",
        Retry.LATER,
    )


class DaemonUnavailable(ClientError):
    row = ErrorCode(
        800,
        "DAEMON_UNAVAILABLE",
        "No daemon answers at this address.",
        "Start one with `recollectd serve`, or check the address.",
        Retry.LATER,
    )


class ConnectionLost(ClientError):
    row = ErrorCode(
        801,
        "CONNECTION_LOST",
        "The connection ended before the reply came.",
        "Reads and numbered writes are sent again by the client until the timeout.",
        Retry.LATER,
    )


class RequestTimeout(ClientError):
    row = ErrorCode(
        802,
        "REQUEST_TIMEOUT",
        "No reply within the timeout. A write may still take effect.",
        "Read to see, or raise the timeout.",
        Retry.LATER,
    )


class ClientClosed(ClientError):
    row = ErrorCode(803, "CLIENT_CLOSED", "The client was closed.", "Open a new one.", Retry.NO)


class UsedAfterFork(ClientError):
    row = ErrorCode(
        804,
        "USED_AFTER_FORK",
        "This client was opened before a fork and belongs to the parent process.",
        "Open a client in the child.",
        Retry.NO,
    )


class InternalError(RecollectdError):
    row = ErrorCode(
        900,
        "INTERNAL",
        "A defect of the daemon. The error id is in its log.",
        "Report it with the error id and the log's lines around it.",
        Retry.NO,
    )


def _leaves(base: type[RecollectdError]) -> list[type[RecollectdError]]:
    below = [leaf for child in base.__subclasses__() for leaf in _leaves(child)]
    return below or [base]


ERRORS: Final[tuple[type[RecollectdError], ...]] = tuple(
    sorted(_leaves(RecollectdError), key=lambda error: error.row.code)
)
ERROR_BY_CODE: Final[dict[int, type[RecollectdError]]] = {error.row.code: error for error in ERRORS}

assert len(ERROR_BY_CODE) == len(ERRORS), "two errors share a code"


def from_wire(code: int, message: str, field: str, retry_after_ms: int, error_id: str) -> RecollectdError:
    """Return the exception for a received error; a code this side does not know becomes a plain RecollectdError."""
    known = ERROR_BY_CODE.get(code)
    if known is None:
        return RecollectdError(
            f"error {code}: {message}", field=field, retry_after_ms=retry_after_ms, error_id=error_id
        )
    return known(message, field=field, retry_after_ms=retry_after_ms, error_id=error_id)
