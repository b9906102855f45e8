"""The same commits give the same rows, whenever and wherever: nothing in apply asks the machine anything."""

from __future__ import annotations

import datetime
import os
import random
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from memory.engine import MemoryEngine, digest, records
from memory.harness import Store
from memory.stories import eventful
from recollectd.memory import commits, events
from recollectd.memory.apply import writes_of
from recollectd.memory.kind import Event
from recollectd.memory.sessions import Sessions
from recollectd.storage.keyspace import Write

ASKED = (
    (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "clock_gettime", "clock_gettime_ns")),
    (os, ("urandom", "getrandom", "getpid", "getenv")),
    (random, ("random", "getrandbits", "randrange")),
    (secrets, ("token_bytes", "token_hex")),
    (uuid, ("uuid1", "uuid4")),
)


class NoClock(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> NoReturn:
        raise AssertionError("apply asked for the time")


def refuse(*args: object, **kwargs: object) -> NoReturn:
    raise AssertionError("apply asked the machine")


def asking_nothing(monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]) -> Any:
    """Carry out an action where whoever asks for time or chance fails."""
    with monkeypatch.context() as patches:
        for module, names in ASKED:
            for name in names:
                patches.setattr(module, name, refuse)
        patches.setattr(datetime, "datetime", NoClock)
        return action()


@pytest.fixture
def store() -> Store:
    return eventful()


def test_the_story_has_every_event(store: Store) -> None:
    told = {type(event) for payload in store.journal for event in commits.decode(payload).events}
    known = {event for kind in commits.KINDS for event in kind.events} | {commits.SessionsForgotten}
    assert told == known
    assert known == set(Event.__subclasses__())


def test_apply_asks_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = [(seq, commits.decode(payload)) for seq, payload in enumerate(store.journal, start=1)]
    sessions = Sessions()

    def apply() -> list[Write]:
        writes: list[Write] = []
        for seq, commit in decoded:
            writes_of(seq, commit, writes)
            sessions.apply(seq, commit)
        sessions.checkpoint()
        return writes

    writes = asking_nothing(monkeypatch, apply)
    engine = MemoryEngine()
    engine.write(writes, len(decoded))
    assert records(engine) == records(store.engine)


def test_sequencing_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap works: drawing ids asks for chance, which is why the sequencer does it once and for all."""
    with pytest.raises(AssertionError, match="asked the machine"):
        asking_nothing(monkeypatch, eventful)


def test_commits_come_back_from_their_bytes(store: Store) -> None:
    for payload in store.journal:
        assert commits.encode(commits.decode(payload)) == payload


def test_apply_before_the_journal_and_from_it_are_the_same(store: Store) -> None:
    """At run time events are applied as they were made, after a crash as they were read back."""
    store.check_replay()
    for start in range(len(store.journal)):
        assert records(store.replay(store.engine.copy(), start)) == records(store.engine)


PROGRAM = """
import sys
from memory.engine import MemoryEngine, digest
from memory.harness import Store
store = Store()
store.journal = [bytes.fromhex(line) for line in sys.stdin]
print(digest(store.replay(MemoryEngine(), batch=4)), end="")
"""


def test_another_process_with_another_hash_seed_gets_the_same_rows(store: Store) -> None:
    payloads = "\n".join(payload.hex() for payload in store.journal)
    digests = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=payloads,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {digest(store.engine)}


def test_every_event_can_be_told_in_words(store: Store) -> None:
    told = [event for payload in store.journal for event in events.describe(payload)["events"]]
    assert {event["operation"] for event in told} == {
        "put",
        "delete",
        "expire",
        "touch",
        "prune",
        "purge",
        "append",
        "truncate",
        "create",
        "configure",
        "forget sessions",
        "forget",
        "supersede",
        "drop",
        "embed",
        "strip",
        "access",
        "index",
        "note",
    }
    fields = {"event", "kind", "namespace", "key", "operation", "version", "data_bytes"}
    assert set().union(*told) == fields, "never a value"
    described = events.describe(store.journal[0])
    assert (described["request"], described["number"], described["session"][-16:]) == ("StatePut", 1, b"sessions".hex())
    assert described["events"][0]["key"] == "a"
    assert described["events"][0]["namespace"] == ["acme", "agent"]
