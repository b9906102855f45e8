"""Journal entries in plain words, for inspection."""

from __future__ import annotations

from typing import Any

from recollectd.memory import commits
from recollectd.memory.kind import Event
from recollectd.protocol.table import REQUEST_BY_TAG
from recollectd.storage.keyspace import split_record_key


def describe(payload: bytes) -> dict[str, Any]:
    """Return what a journal entry says, without values. Raises msgspec.DecodeError for what is no commit."""
    commit = commits.decode(payload)
    request = REQUEST_BY_TAG.get(commit.operation)
    return {
        "time": commit.time,
        "principal": commit.principal,
        "request": request.__name__ if request is not None else "",
        "session": commit.session_id.hex(),
        "number": commit.number,
        "events": [_describe_event(event) for event in commit.events],
    }


def _describe_event(event: Event) -> dict[str, Any]:
    described: dict[str, Any] = {"event": type(event).__name__}
    description = commits.describe(event)
    if event.key:
        kind, namespace, key = split_record_key(event.key)
        described |= {"kind": kind, "namespace": list(namespace), "key": key}
    described |= {"operation": description.operation, "version": description.version}
    if description.data is not None:
        described["data_bytes"] = len(description.data)
    return described
