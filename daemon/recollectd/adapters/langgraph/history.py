"""What a delta channel is rebuilt from: the writes along the chain of parents, back to the last value stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from langgraph.checkpoint.base import DeltaChannelHistory
from langgraph.checkpoint.serde.base import SerializerProtocol

from recollectd.adapters.langgraph import names
from recollectd.adapters.langgraph.reading import Reader, Target, fetch, ordered
from recollectd.adapters.langgraph.steps import Steps
from recollectd.adapters.langgraph.threads import Row
from recollectd.adapters.langgraph.values import Known

_ROWS_AHEAD: Final = 64


def delta_history(
    reader: Reader, target: Target, channels: Sequence[str], serde: SerializerProtocol
) -> Steps[dict[str, DeltaChannelHistory]]:
    """Return for each channel the writes on the way to a checkpoint, oldest first, and the value they start from."""
    collected: dict[str, list[Any]] = {channel: [] for channel in channels}
    seeds: dict[str, Any] = {}
    found = (yield from reader.find(target)) if channels else None
    if found is not None:
        key, row, thread = found
        ns_token, _ = names.split_checkpoint_key(key)
        chain = yield from _chain(reader, target, key, row, set(channels))
        namespace = names.thread_namespace(reader.base, target.label)
        tasks = yield from reader.tasks(namespace, [ancestor for ancestor, _ in chain])
        for (_, ancestor), writes in zip(chain, tasks, strict=True):
            remaining = set(channels) - set(seeds)
            for task_id, write in reversed(ordered(writes)):
                if write.channel in remaining:
                    value = serde.loads_typed((write.kind, write.data))
                    collected[write.channel].append((task_id, write.channel, value))
            stored = {channel: ancestor.values[channel] for channel in remaining & set(ancestor.values)}
            known = thread.known.setdefault(ns_token, Known())
            data = yield from fetch(namespace, ns_token, known, stored, remember=False)
            seeds |= {channel: serde.loads_typed((stored[channel].kind, data[channel])) for channel in stored}
    return {
        channel: {"writes": collected[channel][::-1], "seed": seeds[channel]}
        if channel in seeds
        else {"writes": collected[channel][::-1]}
        for channel in channels
    }


def _chain(reader: Reader, target: Target, key: str, row: Row, wanted: set[str]) -> Steps[list[tuple[str, Row]]]:
    """Return the ancestors, nearest first, back to where every wanted channel has met a stored value.

    The rows before a checkpoint are nearly always its ancestors, so they are read many at a time.
    """
    beginning = names.checkpoint_key(target.ns)
    older: list[str] | None = None
    rows: dict[str, Row] = {}
    chain: list[tuple[str, Row]] = []
    seen = {key}
    while wanted and row.parent is not None:
        key = beginning + row.parent
        if key in seen:
            break
        seen.add(key)
        if key not in rows:
            if older is None:
                older = yield from reader.keys(target._replace(checkpoint_id="", checkpoint_ns=target.ns), "")
            at = older.index(key) if key in older else len(older)
            rows.update((yield from reader.rows(target.label, older[at : at + _ROWS_AHEAD])))
            if key not in rows:
                break
        row = rows[key]
        chain.append((key, row))
        wanted = wanted - set(row.values)
    return chain
