"""LangGraph's checkpointers: a conversation that grows by a message a step, stored after each step.

A step is what a graph with one node asks of its checkpointer: `put_writes` with the task's message, then `put` with the
whole list of messages, of which one is new. Every checkpointer is told the same, fifty steps in turn. Each call waits
until it is durable: recollectd by its default, SQLite by the write-ahead log that its checkpointer sets up (synchronous
FULL), PostgreSQL by synchronous_commit. Bytes are those of allocated blocks after an orderly stop; for PostgreSQL,
whose files also hold its catalogue, of the checkpointer's tables and indexes.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.sqlite import SqliteSaver

from bench.peers.servers import Postgres, Unavailable
from bench.process import DaemonProcess, weigh
from bench.report import Report
from recollectd.adapters.langgraph import RecollectdSaver

TURN_STEPS: Final = 50
WORDS: Final[tuple[str, ...]] = (
    *("the", "a", "we", "to", "of", "plan", "report", "budget", "train", "ticket", "Berlin", "Lisbon", "meeting"),
    *("Monday", "June", "invoice", "number", "please", "check", "again", "before", "after", "because", "customer"),
    *("answer", "question", "model", "agent", "memory", "store", "decision", "open", "close", "review", "draft"),
    *("send", "call", "with", "from", "about", "next", "last", "week", "month", "quarter", "risk", "owner", "task"),
)


class Subject(Protocol):
    """One checkpointer under test, with what it stores in."""

    name: str
    durability: str
    saver: BaseCheckpointSaver[Any]

    def start(self) -> None:
        """Make it ready. Raises Unavailable."""

    def bytes_now(self) -> int:
        """Return what it takes on disk while it runs."""

    def stop(self) -> int:
        """End it, unless that is done, and return what it takes on disk."""


class Ours:
    """The adapter over a daemon with default options."""

    name = "recollectd"
    durability = "fdatasync before reply"

    def __init__(self, folder: Path) -> None:
        self._daemon = DaemonProcess(folder)

    def start(self) -> None:
        """Start the daemon."""
        self._daemon.start()
        self.saver: BaseCheckpointSaver[Any] = self.another()

    def another(self) -> RecollectdSaver:
        """Return a checkpointer that knows nothing yet."""
        return RecollectdSaver(f"unix://{self._daemon.socket}")

    def bytes_now(self) -> int:
        """Return what the data takes, without what is only allocated ahead."""
        return weigh(self._daemon.data).data

    def stop(self) -> int:
        """End the daemon in order."""
        if self._daemon.running:
            self._daemon.terminate()
        return self.bytes_now()


class Sqlite:
    """SQLite's checkpointer on a file."""

    name = "SqliteSaver"
    durability = "WAL, synchronous FULL"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "checkpoints.sqlite"

    def start(self) -> None:
        """Open the file and make the tables."""
        self._connection = sqlite3.connect(self._file, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous=FULL")
        saver = SqliteSaver(self._connection)
        saver.setup()
        self.saver: BaseCheckpointSaver[Any] = saver

    def bytes_now(self) -> int:
        """Return what the file and its log take."""
        return sum(path.stat().st_blocks * 512 for path in self._file.parent.glob(f"{self._file.name}*"))

    def stop(self) -> int:
        """Close the file, which moves the log into it."""
        self._connection.close()
        return self.bytes_now()


class Postgresql:
    """PostgreSQL's checkpointer on a server of its own."""

    name = "PostgresSaver"
    durability = "fsync and synchronous_commit on"

    def __init__(self, folder: Path) -> None:
        self._folder, self._server = folder, Postgres(folder)
        self._opened: Any = None
        self._taken = 0

    def start(self) -> None:
        """Start the server and make the tables. Raises Unavailable."""
        try:
            from langgraph.checkpoint.postgres import PostgresSaver
        except ImportError as error:
            raise Unavailable(f"PostgresSaver cannot be imported: {error}") from error
        self._server.start()
        user = "postgres" if Path("/proc/self").stat().st_uid == 0 else self._folder.owner()
        self._opened = PostgresSaver.from_conn_string(f"host={self._folder} dbname=postgres user={user}")
        saver = self._opened.__enter__()
        saver.setup()
        self.saver: BaseCheckpointSaver[Any] = saver
        self._connection: Any = saver.conn

    def bytes_now(self) -> int:
        """Return what the checkpointer's tables take, with indexes and large values."""
        query = "SELECT sum(pg_total_relation_size(c.oid)) AS size FROM pg_class c WHERE relname LIKE 'checkpoint%'"
        return int(self._connection.execute(f"{query} AND relkind = 'r'").fetchone()["size"])

    def stop(self) -> int:
        """Return what the tables take, and end the server."""
        if self._opened is not None:
            self._taken = self.bytes_now()
            self._opened.__exit__(None, None, None)
            self._opened = None
        self._server.stop()
        return self._taken


class Conversation:
    """The same conversation for every subject, told step by step, and where each has come to."""

    def __init__(self, subject: Subject, steps: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._saver = subject.saver
        self._config: Any = {"configurable": {"thread_id": "growing", "checkpoint_ns": ""}}
        self._versions: dict[str, Any] = {}
        self._messages: list[Any] = []
        self.steps = steps
        self.done = 0
        self.seconds = 0.0

    def advance(self, steps: int) -> None:
        """Store so many steps and count the time they take."""
        for _ in range(min(steps, self.steps - self.done)):
            content = " ".join(self._random.choices(WORDS, k=50))
            kind = AIMessage if self.done % 2 else HumanMessage
            message = kind(content, id=str(UUID(int=self._random.getrandbits(128))))
            self._messages.append(message)
            began = time.perf_counter()
            self._store(message)
            self.seconds += time.perf_counter() - began
            self.done += 1

    def _store(self, message: Any) -> None:
        version = self._saver.get_next_version(self._versions.get("messages"), None)
        if self.done:
            self._saver.put_writes(self._config, [("messages", [message])], str(UUID(int=self.done)), "~__pregel_pull")
        self._versions = {**self._versions, "messages": version}
        checkpoint: Any = {
            "v": 4,
            "id": str(uuid6(clock_seq=self.done)),
            "ts": "2026-01-01T00:00:00+00:00",
            "channel_values": {"messages": list(self._messages)},
            "channel_versions": self._versions,
            "versions_seen": {"__input__": {}, "agent": dict(self._versions)},
            "updated_channels": ["messages"],
        }
        metadata: Any = {"source": "loop", "step": self.done, "parents": {}}
        self._config = self._saver.put(self._config, checkpoint, metadata, {"messages": version})


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Measure all that can be had, and add the rows."""
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="r-") as name:
        folders = [Path(name) / each for each in ("ours", "sqlite", "postgres")]
        for folder in folders:
            folder.mkdir()
        Path(name).chmod(0o755)
        subjects: list[Subject] = [Ours(folders[0]), Sqlite(folders[1]), Postgresql(folders[2])]
        started = [subject for subject in subjects if _start(subject)]
        try:
            _measure(started, arguments.steps, report)
        finally:
            for subject in started:
                subject.stop()


def _start(subject: Subject) -> bool:
    try:
        subject.start()
    except Unavailable as error:
        print(f"  {subject.name}: {error}")
        return False
    return True


def _measure(subjects: Sequence[Subject], steps: int, report: Report) -> None:
    told = [Conversation(subject, steps, seed=1) for subject in subjects]
    halfway: list[int] = []
    while told[0].done < steps:
        for conversation in told:
            conversation.advance(TURN_STEPS)
        if told[0].done >= steps // 2 and not halfway:
            halfway = [subject.bytes_now() for subject in subjects]
    whole = [subject.bytes_now() for subject in subjects]
    ours = subjects[0]
    assert isinstance(ours, Ours)
    case = f"{steps:,} steps of a growing conversation"
    cold_ms = _cold_read_ms(ours, steps)
    rates = [conversation.done / conversation.seconds for conversation in told]
    taken = [subject.stop() for subject in subjects]
    for index, subject in enumerate(subjects[1:], start=1):
        durable = f"{case}; {ours.durability} / {subject.durability}"
        report.add("checkpoints", durable, unit="1/s", ours=rates[0], theirs=rates[index], peer=subject.name)
        report.add("bytes on disk", case, unit="bytes", ours=taken[0], theirs=taken[index], peer=subject.name)
    if len(subjects) > 1:
        share = taken[0] / taken[1]
        report.add("bytes on disk, share of SqliteSaver's", case, unit="x", ours=share, must="<= 0.1")
    first, second = halfway[0], whole[0] - halfway[0]
    report.add("bytes of the second half over the first", case, unit="x", ours=second / first, must="<= 1.5")
    report.add("read of the latest checkpoint, cold", case, unit="ms", ours=cold_ms)


def _cold_read_ms(ours: Ours, steps: int) -> float:
    with ours.another() as saver:
        began = time.perf_counter()
        found = saver.get_tuple({"configurable": {"thread_id": "growing"}})
        elapsed_ms = (time.perf_counter() - began) * 1_000
    assert found is not None
    assert len(found.checkpoint["channel_values"]["messages"]) == steps, "what is read is what was written"
    return elapsed_ms
