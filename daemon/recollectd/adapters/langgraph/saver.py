"""The checkpointer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Literal, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from recollectd.adapters.langgraph import listing, maintenance, writing
from recollectd.adapters.langgraph.history import delta_history
from recollectd.adapters.langgraph.reading import Reader, Target, target_of
from recollectd.adapters.langgraph.steps import Faces
from recollectd.adapters.langgraph.threads import Threads


class RecollectdSaver(BaseCheckpointSaver[Any]):
    """A LangGraph checkpointer over a recollectd daemon; its methods may be awaited (`aput`, …) or not.

    url: as for `recollectd.client.Client`; namespace: all threads lie below it; timeout: seconds for each call of the
    daemon; durability: "sync": what `put` returns from survives a loss of power; "async": the end of the daemon's
    process; serde: LangGraph's serializer. Python threads and event loops may share a saver. Close it, or use it in a
    `with` or `async with` block.

    A checkpoint is one transaction and stores what changed: of a value that grew, what was added. Raises ValueError for
    ids that cannot be stored, what the serializer raises for values it does not know, and RecollectdError (for instance
    DaemonUnavailable) when the daemon cannot do its part; then nothing was written, or, after RequestTimeout, perhaps
    all. Writing the same again is harmless.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: Sequence[str] = ("langgraph",),
        timeout: float = 30.0,
        durability: Literal["sync", "async"] = "sync",
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde)
        self._faces = Faces(url, namespace, timeout, durability)
        self._reader = Reader(self._faces.namespace, Threads())

    @classmethod
    @contextmanager
    def from_conn_string(cls, url: str, **options: Any) -> Iterator[Self]:
        """Give a saver that is closed at the end of the `with` block."""
        with cls(url, **options) as saver:
            yield saver

    @classmethod
    @asynccontextmanager
    async def afrom_conn_string(cls, url: str, **options: Any) -> AsyncIterator[Self]:
        """Give a saver that is closed at the end of the `async with` block."""
        async with cls(url, **options) as saver:
            yield saver

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint a config names, the latest of its thread without an id; None if there is none."""
        return self._faces.run(self._reader.load(target_of(config), self.serde))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See get_tuple."""
        return await self._faces.arun(self._reader.load(target_of(config), self.serde))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, newest first: of the config's thread, or of all.

        filter: values that fields of the metadata must equal; a dotted name leads into nested ones.
        """
        wanted = self._faces.run(listing.wanted(self._reader, config, before))
        left = listing.Left(limit)
        while left and wanted:
            yield from left.take(self._faces.run(listing.next_page(self._reader, wanted, filter, left, self.serde)))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """See list."""
        wanted = await self._faces.arun(listing.wanted(self._reader, config, before))
        left = listing.Left(limit)
        while left and wanted:
            page = await self._faces.arun(listing.next_page(self._reader, wanted, filter, left, self.serde))
            for found in left.take(page):
                yield found

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint as the child of the one the config names, and return its own config."""
        new = self._new(config, checkpoint, metadata, new_versions)
        self._faces.run(writing.put(self._reader, new, self.serde))
        return _config(new.target, checkpoint)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See put."""
        new = self._new(config, checkpoint, metadata, new_versions)
        await self._faces.arun(writing.put(self._reader, new, self.serde))
        return _config(new.target, checkpoint)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote beside a checkpoint; what it wrote there before stays."""
        self._faces.run(writing.put_writes(self._reader, target_of(config), writes, task_id, task_path, self.serde))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See put_writes."""
        steps = writing.put_writes(self._reader, target_of(config), writes, task_id, task_path, self.serde)
        await self._faces.arun(steps)

    def delete_thread(self, thread_id: str) -> None:
        """Delete all of a thread."""
        self._faces.run(maintenance.delete_thread(self._reader, str(thread_id)))

    async def adelete_thread(self, thread_id: str) -> None:
        """See delete_thread."""
        await self._faces.arun(maintenance.delete_thread(self._reader, str(thread_id)))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that some runs wrote (`run_id` in their metadata), in all threads.

        A delta channel whose history went through one of them loses what they held.
        """
        self._faces.run(maintenance.delete_for_runs(self._reader, run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """See delete_for_runs."""
        await self._faces.arun(maintenance.delete_for_runs(self._reader, run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all of a thread to one that has no checkpoints. Raises ValueError if it has some."""
        self._faces.run(maintenance.copy_thread(self._reader, str(source_thread_id), str(target_thread_id)))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """See copy_thread."""
        await self._faces.arun(maintenance.copy_thread(self._reader, str(source_thread_id), str(target_thread_id)))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete threads (`delete`), or all but the latest checkpoint of each namespace (`keep_latest`).

        The ancestors from which delta channels of a kept checkpoint are rebuilt are kept, too.
        """
        self._faces.run(maintenance.prune(self._reader, thread_ids, strategy, self.serde))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """See prune."""
        await self._faces.arun(maintenance.prune(self._reader, thread_ids, strategy, self.serde))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return for each channel what rebuilds it: writes of the ancestors, oldest first, and what they start from."""
        return self._faces.run(delta_history(self._reader, target_of(config), channels, self.serde))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """See get_delta_channel_history."""
        return await self._faces.arun(delta_history(self._reader, target_of(config), channels, self.serde))

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return the version after this one: whole numbers, or the texts of a thread that came from SQLite's saver."""
        if isinstance(current, str):
            number = int(current.partition(".")[0]) + 1
            return f"{number:032}.{0:016}"
        return 1 if current is None else current + 1

    def _new(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> writing.New:
        merged = get_checkpoint_metadata(config, metadata)
        run_id = merged.get("run_id")
        return writing.New(
            target_of(config),
            checkpoint,
            new_versions,
            self.serde.dumps_typed(merged),
            None if run_id is None else str(run_id),
        )

    def close(self) -> None:
        """Close the connections of the blocking methods."""
        self._faces.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and those of the blocking methods."""
        await self._faces.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _config(target: Target, checkpoint: Checkpoint) -> RunnableConfig:
    return target.config(str(checkpoint["id"]))
