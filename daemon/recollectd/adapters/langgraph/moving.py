"""Moving checkpoints from another checkpointer."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver


def copy_checkpoints(
    source: BaseCheckpointSaver[Any], target: BaseCheckpointSaver[Any], thread_ids: Iterable[str] | None = None
) -> int:
    """Copy checkpoints and what tasks wrote beside them, of some threads or of all, and return how many checkpoints.

    May be run again after an interruption: what is there is written again as it was. Nobody should be writing to these
    threads meanwhile. A checkpointer tells no task's path; writes keep their order within each task.
    """
    wanted: list[Any] = [None]
    if thread_ids is not None:
        wanted = [{"configurable": {"thread_id": thread_id}} for thread_id in thread_ids]
    configs = [found.config for config in wanted for found in source.list(config)]
    # Parents first: a checkpoint shares with its parent what they have in common.
    for config in sorted(configs, key=lambda each: str(each["configurable"]["checkpoint_id"])):
        found = source.get_tuple(config)
        if found is None:
            continue
        configurable = config["configurable"]
        place = {"thread_id": configurable["thread_id"], "checkpoint_ns": configurable.get("checkpoint_ns", "")}
        stored = target.put(
            found.parent_config or {"configurable": place},
            found.checkpoint,
            found.metadata,
            found.checkpoint["channel_versions"],
        )
        for task_id, writes in groupby(found.pending_writes or (), key=lambda write: write[0]):
            target.put_writes(stored, [(channel, value) for _, channel, value in writes], task_id)
    return len(configs)
