"""The watch feed against the model: every change of every shared record, once, in the journal's order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from bench.crash.model import Model
from bench.crash.records import Key, Log, Memory, MessageVectors, Record, Settings, Space, State
from bench.crash.workload import SHARED
from bench.wire import Connection, failure
from recollectd.protocol import errors, table
from recollectd.protocol.frames import RequestHeader, pack_request
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.transactions import Change, Changes, Watch, Watching


def read_feed(path: Path, after: int, until: int) -> list[Change] | None:
    """Return all changes behind a position up to another one; None where the journal is trimmed too far."""
    found: list[Change] = []
    with Connection(path) as connection:
        watch = Watch((), position=after, values=True)
        connection.send(pack_request(RequestHeader(connection.next_id()), table.encode(watch)))
        while True:
            reply = connection.receive().decode()
            refused = failure(reply)
            if isinstance(refused, errors.Resync):
                return None
            if refused:
                raise refused
            if isinstance(reply, Changes):
                found += reply.changes
                if reply.position >= until:
                    return [change for change in found if change.position <= until]
            else:
                assert isinstance(reply, Watching), reply


def check_feed(model: Model, changes: Iterable[Change], after: int, until: int) -> list[str]:
    """Return where the feed says something else than the model's timeline behind a position up to another one."""
    told = [change for change in changes if change.namespace in SHARED]
    last: dict[tuple[int, Key], Change] = {
        (change.position, (change.kind, change.namespace, change.key)): change for change in told
    }
    known = {
        (seq, key): record
        for key, timeline in model.timeline.items()
        if key[1] in SHARED and key[0] != Kind.MESSAGE_VECTORS  # what a watch tells is that messages were appended
        for seq, record in timeline
        if after < seq <= until
    }
    trouble = [f"the feed lacks the change of {key} at {seq}" for seq, key in known.keys() - last.keys()]
    trouble += [f"the feed tells of {last[place]!r:.300}, which never was" for place in last.keys() - known.keys()]
    for earlier, later in pairwise(told):
        if (later.position, later.time) < (earlier.position, earlier.time) or later.time < earlier.time:
            trouble.append(f"the feed tells {later!r:.300} after {earlier!r:.300}")
    for place in last.keys() & known.keys():
        if not _tells(last[place], known[place]):
            trouble.append(f"the feed tells {last[place]!r:.300} of {known[place]!r:.300}")
    return trouble


def _tells(change: Change, record: Record | None) -> bool:
    """Return whether the last change of a record in a commit is what left it so."""
    if record is None:
        return change.operation in ("delete", "drop")
    if isinstance(record, State):
        newest = record.newest
        if change.operation == "put":
            return (change.version, change.data) == (newest.version, newest.value)
        gone = newest.value is None
        return change.version == newest.version and change.operation in (("delete", "expire") if gone else ("touch",))
    if isinstance(record, Space):
        return change.operation == ("alias" if record.alias_of else "create")
    if isinstance(record, Settings):
        return change.operation == "configure"
    if isinstance(record, Memory):
        gone = record.text is None
        allowed = ("delete",) if gone else ("put", "forget", "remember", "supersede", "embed")
        return change.version == record.version and change.operation in allowed
    assert not isinstance(record, MessageVectors), "nobody watches those"
    return change.version == (record.next if isinstance(record, Log) else len(record.items))
