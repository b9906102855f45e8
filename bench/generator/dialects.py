"""The same work in the words of each server: templates of requests, and what a connection begins with."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Raw

from bench.generator.plan import KEY_MARK, Request, Target, noise
from bench.wire import hello_body
from recollectd.protocol import table
from recollectd.protocol.frames import PREAMBLE, RequestHeader, pack_request
from recollectd.protocol.messages.connection import ErrorReply
from recollectd.protocol.messages.fields import Message
from recollectd.protocol.messages.logs import LogAppend, LogRead
from recollectd.protocol.messages.state import StateGet, StatePut, StateScan

NAMESPACE: Final = ("bench", "load")
KEY: Final = b"agent-" + KEY_MARK
LOG: Final = b"log-" + KEY_MARK
LAST: Final = 10
SCAN_LIMIT: Final = 50
_SCAN_DIGITS: Final = 7  # of nine: a prefix holds up to a hundred keys

# recollectd


def ours(socket: Path) -> Target:
    """Return the daemon at a socket; each connection opens a session of its own."""
    prelude = PREAMBLE + pack_request(RequestHeader(1), hello_body())
    return Target(socket, "ours", prelude, 1, table.tag_of(ErrorReply))


def _frame(message: Message) -> bytes:
    return pack_request(RequestHeader(0), table.encode(message))


def our_get(weight: float = 1.0, name: str = "get", then: int = -1) -> Request:
    """Return a state `get`."""
    return Request(name, _frame(StateGet(NAMESPACE, KEY.decode())), weight=weight, then=then)


def our_put(size: int, weight: float = 1.0, name: str = "put", *, inserts: bool = False) -> Request:
    """Return a synced state `put` of a value of so many bytes."""
    message = StatePut(NAMESPACE, KEY.decode(), Raw(table.encode(noise(size))))
    return Request(name, _frame(message), size, weight, write=True, inserts=inserts)


def our_scan(weight: float = 1.0) -> Request:
    """Return a scan of the keys that share all but their last two digits."""
    prefix = KEY[: len(KEY) - len(KEY_MARK) + _SCAN_DIGITS].decode()
    message = StateScan(NAMESPACE, prefix=prefix, limit=SCAN_LIMIT)
    return Request("scan", _frame(message), weight=weight, key_digits=_SCAN_DIGITS)


def our_append(size: int) -> Request:
    """Return a synced append of one item to a log."""
    message = LogAppend(NAMESPACE, LOG.decode(), (Raw(table.encode(noise(size))),))
    return Request("append", _frame(message), size, write=True)


def our_last() -> Request:
    """Return a read of a log's last items."""
    return Request("last", _frame(LogRead(NAMESPACE, LOG.decode(), last=LAST)))


# Redis and Valkey


def redis(socket: Path) -> Target:
    """Return a server that speaks RESP."""
    return Target(socket, "resp")


def command(*words: bytes) -> bytes:
    """Return a RESP command."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def redis_requests(size: int) -> dict[str, Request]:
    """Return get, put, append and last in Redis' words: strings and streams."""
    return {
        "get": Request("get", command(b"GET", KEY)),
        "put": Request("put", command(b"SET", KEY, noise(size)), size),
        "append": Request("append", command(b"XADD", LOG, b"*", b"v", noise(size)), size),
        "last": Request("last", command(b"XREVRANGE", LOG, b"+", b"-", b"COUNT", b"%d" % LAST)),
    }


# PostgreSQL: prepared statements, one round trip each, binary values

SCHEMA: Final = (
    "CREATE TABLE state (key text PRIMARY KEY, value bytea NOT NULL)",
    "CREATE TABLE log (log_id text, position bigint GENERATED ALWAYS AS IDENTITY, value bytea NOT NULL, "
    "PRIMARY KEY (log_id, position))",
)
STATEMENTS: Final = {
    "get": "SELECT value FROM state WHERE key = $1",
    "put": "INSERT INTO state VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    "append": "INSERT INTO log (log_id, value) VALUES ($1, $2)",
    "last": f"SELECT position, value FROM log WHERE log_id = $1 ORDER BY position DESC LIMIT {LAST}",
}
_BINARY: Final = 1


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def postgres(socket: Path, user: str, database: str) -> Target:
    """Return a PostgreSQL server that trusts its socket; each connection prepares the statements."""
    parameters = b"".join(b"%s\0" % word.encode() for word in ("user", user, "database", database)) + b"\0"
    start = struct.pack("!II", len(parameters) + 8, 196608) + parameters
    parse = b"".join(
        _message(b"P", name.encode() + b"\0" + statement.encode() + b"\0" + struct.pack("!H", 0))
        for name, statement in STATEMENTS.items()
    )
    return Target(socket, "postgres", start + parse + _message(b"S", b""), 2)


def _execute(name: str, arguments: Sequence[bytes]) -> bytes:
    bound = b"\0" + name.encode() + b"\0" + struct.pack("!HHH", 1, _BINARY, len(arguments))
    bound += b"".join(struct.pack("!I", len(each)) + each for each in arguments) + struct.pack("!HH", 1, _BINARY)
    return _message(b"B", bound) + _message(b"E", b"\0" + struct.pack("!I", 0)) + _message(b"S", b"")


def postgres_requests(size: int) -> dict[str, Request]:
    """Return get, put, append and last as executions of prepared statements, each its own transaction."""
    return {
        "get": Request("get", _execute("get", (KEY,))),
        "put": Request("put", _execute("put", (KEY, noise(size))), size),
        "append": Request("append", _execute("append", (LOG, noise(size))), size),
        "last": Request("last", _execute("last", (LOG,))),
    }
