"""Delta channels: random trees of checkpoints, in ours and in LangGraph's checkpointer in memory, have one history.

The conformance suite on PyPI (0.0.2) has no cases of its own for them; its authors' later ones ask for the same: writes
oldest first, from behind the nearest snapshot or plain value, without those of the checkpoint itself.
"""

from __future__ import annotations

import random
from typing import Any, Final
from uuid import UUID

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from recollectd.adapters.langgraph import RecollectdSaver
from recollectd.testing import Daemon

CHANNELS: Final = ("a", "b")
ASKED: Final[tuple[list[str], ...]] = ([], ["a"], ["a", "b"], ["unknown"])


def ids(count: int) -> list[str]:
    """Return ids in order, the same for both checkpointers."""
    return sorted(str(uuid6(clock_seq=number)) for number in range(count))


async def grow(saver: BaseCheckpointSaver[Any], names: list[str], seed: int) -> list[Any]:
    """Store a tree of checkpoints and return where they lie."""
    rng = random.Random(seed)
    stored: list[Any] = []
    for step, name in enumerate(names):
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        if stored:
            parent = rng.choice(stored) if rng.random() < 0.2 else stored[-1]
            config["configurable"]["checkpoint_id"] = parent["configurable"]["checkpoint_id"]
        values: dict[str, Any] = {}
        for channel in CHANNELS:
            kind = rng.random()
            if kind < 0.3:
                values[channel] = _DeltaSnapshot([step]) if kind < 0.2 else [step, "plain"]
        versions: dict[str, Any] = dict.fromkeys(values, step + 1)
        checkpoint: Any = {
            **{"v": 4, "id": name, "ts": "", "channel_values": values, "channel_versions": versions},
            **{"versions_seen": {}, "updated_channels": None},
        }
        stored.append(await saver.aput(config, checkpoint, {"step": step}, versions))
        for channel in CHANNELS:
            if rng.random() < 0.7:
                await saver.aput_writes(stored[-1], [(channel, [step])], str(UUID(int=step)))
    return stored


@pytest.mark.parametrize("seed", range(30))
async def test_histories_are_those_of_the_reference(daemon: Daemon, namespace: tuple[str, ...], seed: int) -> None:
    names, reference = ids(random.Random(seed).randrange(1, 10)), InMemorySaver()
    async with RecollectdSaver(daemon.url, namespace=namespace) as saver:
        theirs, ours = await grow(reference, names, seed), await grow(saver, names, seed)
        for there, here in zip(theirs, ours, strict=True):
            for channels in ASKED:
                expected = await reference.aget_delta_channel_history(config=there, channels=channels)
                found = await saver.aget_delta_channel_history(config=here, channels=channels)
                assert repr(found) == repr(expected)
