"""Checkpoints as a graph would write them, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint


class Branch:
    """A thread's checkpoints, each the child of the one before."""

    def __init__(self, saver: BaseCheckpointSaver[Any], thread_id: str = "t", checkpoint_ns: str = "") -> None:
        self.saver = saver
        self.config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}}
        self.values: dict[str, Any] = {}
        self.versions: dict[str, Any] = {}
        self.steps = 0

    def put(self, changed: Mapping[str, Any], **metadata: Any) -> Any:
        """Write a checkpoint in which these channels have new values, and return its config."""
        checkpoint = empty_checkpoint()
        self.values = {**self.values, **changed}
        new = {channel: self.saver.get_next_version(self.versions.get(channel), None) for channel in changed}
        self.versions = {**self.versions, **new}
        checkpoint["channel_values"] = dict(self.values)
        checkpoint["channel_versions"] = dict(self.versions)
        told: Any = {"source": "loop", "step": self.steps, "parents": {}, **metadata}
        self.config = self.saver.put(self.config, checkpoint, told, new)
        self.steps += 1
        return self.config

    def on(self, saver: BaseCheckpointSaver[Any]) -> Branch:
        """Return the same branch as another checkpointer goes on with it."""
        branch = Branch(saver)
        branch.__dict__.update(self.__dict__)
        branch.saver = saver
        return branch


def values_of(saver: BaseCheckpointSaver[Any], config: Any) -> dict[str, Any]:
    """Return the channel values of a checkpoint."""
    found = saver.get_tuple(config)
    assert found is not None, f"there is no checkpoint at {config}"
    return found.checkpoint["channel_values"]
