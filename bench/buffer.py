"""PersistentBufferMemory with many agents at once: reads from the buffer, persists of 100 messages, bytes on disk.

Each agent has a long history stored before anything is measured; then they take turns to add 100 messages, persist and
read. The moments of their turns are set beforehand, at a stated rate (an open loop), and a persist counts from its
moment on, with adding the messages and whatever it had to wait for.

Bytes saved are those of all files of the records after a full compaction, against JSON Lines of role, content and
timestamp, persisted ten messages at a time. They are weighed without any dictionary, so without one that has seen the
messages; and as the daemon stores them, with the dictionary of samples that RocksDB keeps in each of its files.
The messages are those of a file of dialogues that is given (none is part of the project), and beside it the sentences
of this project's documents, which are denser than what people say.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias
from unittest import mock

import msgspec
import numpy as np
from rocksdict import BottommostLevelCompaction, CompactOptions

from bench.load import throwaway_daemon
from bench.machine import ROOT
from bench.process import DaemonProcess
from bench.report import Report
from recollectd.client import Client, NewMessage, PersistentBufferMemory
from recollectd.storage import engine_options
from recollectd.storage.engine import Engine

Conversation: TypeAlias = tuple[str, list[dict[str, str]]]

BLOCK: Final = 100
THREADS: Final = 8
ROUNDS: Final = 3
LOAD_BLOCK: Final = 1_000
COMPRESSED_BLOCK: Final = 10
WORDS: Final = (  # noqa: SIM905 (a sentence is easier to read than a list)
    "the report build test memory agent says that we should look at tomorrow after lunch because nobody has seen "
    "which of them fails on a cold start and who changed it last week in the branch for customers from Lisbon"
).split()


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--agents", type=int, default=1_000, help="agents at once (default %(default)s)")
    parser.add_argument("--entries", type=int, default=10_000, help="messages stored for each (default %(default)s)")
    parser.add_argument("--rate", type=float, default=50, help="persists of 100 messages a second (default 50)")
    parser.add_argument("--dialogues", type=Path, help="JSON Lines with conversation, speaker and text, to weigh")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Load, measure, weigh."""
    with throwaway_daemon(arguments.folder) as daemon:
        _measure(daemon, arguments.agents, arguments.entries, arguments.rate, report)
    for dictionary, dictionary_bytes in (
        ("no dictionary", 0),
        ("RocksDB's dictionary in each file", engine_options.DICTIONARY_BYTES),
    ):
        case = f"ten messages a block, {dictionary}"
        saved = None
        if arguments.dialogues is not None:
            saved = _saved(arguments.folder, _dialogues(arguments.dialogues), dictionary_bytes)
        report.add("bytes saved of --dialogues", case, unit="%", ours=saved, must=">= 60")
        saved = _saved(arguments.folder, _sentences(), dictionary_bytes)
        report.add("bytes saved of documents' sentences", case, unit="%", ours=saved)


def _text(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randrange(5, 40)))


def _measure(daemon: DaemonProcess, agents: int, entries: int, rate: float, report: Report) -> None:
    url = f"unix://{daemon.socket}"
    case = f"{agents:,} agents at once, {entries:,} messages each"
    with Client(url, namespace=("bench",), timeout=120, connections_max=THREADS) as client:
        started = time.monotonic()
        _each(agents, lambda agent: _load(client, agent, entries))
        report.add("load", case, unit="messages/s", ours=agents * entries / (time.monotonic() - started))
        with ExitStack() as stack:
            memories = [
                stack.enter_context(
                    PersistentBufferMemory(_name(agent), buffer_size=1_000, auto_persist_interval=None, client=client)
                )
                for agent in range(agents)
            ]
            _work(memories, rate, case, report)
        info = client.conversations.info(_name(0))
        assert info is not None
        assert info.total_messages == entries + ROUNDS * BLOCK, "messages were lost or doubled"


def _work(memories: list[PersistentBufferMemory], rate: float, case: str, report: Report) -> None:
    persists: list[float] = []
    reads: list[float] = []
    whole: list[float] = []
    lock = threading.Lock()

    def turn(number: int, due: float) -> None:
        rng, memory = random.Random(number), memories[number % len(memories)]
        texts = [_text(rng) for _ in range(BLOCK)]
        time.sleep(max(0.0, due - time.perf_counter()))
        for index, text in enumerate(texts):
            memory.add_message(("user", "assistant")[index % 2], text)
        memory.persist()
        persisted = time.perf_counter()
        found = memory.get_history(100)
        read = time.perf_counter()
        memory.get_history()
        ended = time.perf_counter()
        assert len(found) == min(100, memory.buffer_size)
        with lock:
            persists.append((persisted - due) * 1_000)
            reads.append((read - persisted) * 1_000)
            whole.append((ended - read) * 1_000)

    started = time.perf_counter()
    _each(len(memories) * ROUNDS, lambda number: turn(number, started + number / rate))
    seconds = time.perf_counter() - started
    case = f"{case}, {rate:.0f} persists/s, each agent every {len(memories) / rate:.0f} s"
    report.add("get_history(100) p95", case, unit="ms", ours=float(np.percentile(reads, 95)), must="< 1")
    report.add(
        "get_history() of a buffer of 1,000 p95", case, unit="ms", ours=float(np.percentile(whole, 95)), must="< 1"
    )
    report.add("persist of 100 p95", case, unit="ms", ours=float(np.percentile(persists, 95)), must="< 100")
    report.add("persist of 100 p50", case, unit="ms", ours=float(np.percentile(persists, 50)))
    carried = len(persists) * BLOCK / seconds
    report.add("messages persisted", f"{case}, synced before reply", unit="1/s", ours=carried)


def _each(agents: int, action: Callable[[int], object]) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(action, range(agents)):
            pass


def _name(agent: int) -> str:
    return f"agent-{agent:05}"


def _load(client: Client, agent: int, entries: int) -> None:
    rng = random.Random(-agent)
    client.conversations.create(_name(agent))
    texts = [_text(rng) for _ in range(200)]
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for start in range(0, entries, LOAD_BLOCK):
        block = [
            NewMessage(("user", "assistant")[n % 2], rng.choice(texts), None, at + timedelta(seconds=n))
            for n in range(start, min(entries, start + LOAD_BLOCK))
        ]
        client.conversations.append_many(_name(agent), block)


# -- bytes ------------------------------------------------------------------------------------------------------------


def _saved(folder: Path, conversations: Iterable[Conversation], dictionary_bytes: int) -> float:
    """Persist conversations, compact the records, and return how many percent smaller they are than JSON Lines."""
    with throwaway_daemon(folder) as daemon:
        raw = 0
        with Client(f"unix://{daemon.socket}", namespace=("bench",)) as client:
            for agent, messages in conversations:
                with PersistentBufferMemory(agent, auto_persist_interval=COMPRESSED_BLOCK, client=client) as memory:
                    for message in messages:
                        memory.add_message(message["role"], message["content"], timestamp=message["timestamp"])
                        raw += len(json.dumps(message, ensure_ascii=False).encode()) + 1
        daemon.terminate()
        return 100 * (1 - _compacted_bytes(daemon.data / "records", dictionary_bytes) / raw)


def _dialogues(file: Path) -> Iterable[Conversation]:
    """Return what was said in the conversations of a file."""
    turns = map(msgspec.json.decode, file.read_bytes().splitlines())
    return _spoken((turn["conversation"], turn["text"]) for turn in turns)


def _sentences() -> Iterable[Conversation]:
    """Return the sentences of this project's documents, without code and tables, each once."""
    documents = [ROOT / "README.md", ROOT / "daemon" / "ARCHITECTURE.md", *sorted((ROOT / "daemon" / "docs").glob("*"))]
    told: dict[str, str] = {}
    for document in documents:
        prose = re.sub(r"^```.*?^```$|^\|.*?$|^#.*?$|^- ", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
        for sentence in re.split(r"(?<=[.:;?])\s+|\n\n", prose):
            if sentence.strip():
                told.setdefault(" ".join(sentence.split()), document.stem)
    return _spoken((agent, text) for text, agent in told.items())


def _spoken(told: Iterable[tuple[str, str]]) -> Iterable[Conversation]:
    """Return conversations of messages some seconds to some minutes apart; told: the conversation's name, the text."""
    rng = random.Random(1)
    conversations: dict[str, list[dict[str, str]]] = {}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for name, text in told:
        messages = conversations.setdefault(name, [])
        at += timedelta(microseconds=rng.randrange(5_000_000, 90_000_000))
        role = ("user", "assistant")[len(messages) % 2]
        stamp = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        messages.append({"role": role, "content": text, "timestamp": stamp})
    return conversations.items()


def _compacted_bytes(records: Path, dictionary_bytes: int) -> int:
    """Return the bytes of all files of the records after a full compaction, of a copy."""
    copy = records.with_name("compacted")
    shutil.copytree(records, copy)
    forced = CompactOptions()
    forced.set_bottommost_level_compaction(BottommostLevelCompaction.force())
    with (
        mock.patch.object(engine_options, "DICTIONARY_BYTES", dictionary_bytes),
    ):
        engine = Engine.open(copy, engine_options.EngineOptions(64 << 20, 16 << 20))
        engine.flush()
        for family in engine._families:
            family.compact_range(None, None, forced)
        total: int = sum(file["size"] for file in engine._database.live_files())
        del family
        engine.close()
    return total
