"""What an answer promises, one promise at a time, on files that forget what was not synced.

Each test would pass on a daemon that is slow; none passes on one that answers, shows or keeps too early.
"""

from __future__ import annotations

import random
import select
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec import Raw

from bench.crash.powercut import TARGET_JOURNAL, Forgetful
from bench.process import DaemonProcess
from bench.wire import FLAG_ASYNC, Connection, RawReply
from recollectd.protocol import table
from recollectd.protocol.frames import RequestHeader, pack_request
from recollectd.protocol.messages.connection import ErrorReply
from recollectd.protocol.messages.fields import Message, Reply
from recollectd.protocol.messages.logs import LogAppend, LogAppended, LogHead, LogInfo
from recollectd.protocol.messages.state import Absent, StateGet, StatePut, StateRecord, StateStored

NAMESPACE = ("promises",)
ONE = Raw(table.encode(1))
# Longer than anything here takes, shorter than the patience of a test: a sync that has not come back yet.
SYNC_US = 700_000
A_MOMENT_S = 0.25

ReplyT = TypeVar("ReplyT", bound=Reply)


class LosesEverything(random.Random):
    """Of what a power cut may take, takes all."""

    def choice(self, seq):  # type: ignore[no-untyped-def]
        return seq[0]


class Machine:
    """A daemon on files whose power can be cut."""

    def __init__(self, folder: Path, library: Path) -> None:
        (folder / "work").mkdir()
        self.files = Forgetful(folder / "data", folder / "work", library)
        self.daemon = DaemonProcess(folder)

    def start(self, **options: object) -> None:
        named = {name.replace("__", "."): value for name, value in options.items()}
        self.daemon.start(named, self.files.environment())

    def connect(self, session_id: bytes = b"") -> Connection:
        return Connection(self.daemon.socket, session_id)

    def cut_power(self) -> None:
        self.daemon.kill()
        self.files.cut(LosesEverything())
        self.files.calm()


@pytest.fixture
def machine(tmp_path: Path, library: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path, library)
    try:
        yield machine
    finally:
        machine.daemon.kill()


def put(key: str, **more: object) -> StatePut:
    return StatePut(NAMESPACE, key, ONE, **more)  # type: ignore[arg-type]


def there(connection: Connection, key: str) -> bool:
    return isinstance(connection.call(StateGet(NAMESPACE, key)), StateRecord)


def reply_within(connection: Connection, seconds: float) -> RawReply | None:
    readable, _, _ = select.select([connection], [], [], seconds)
    return connection.receive() if readable else None


def frame(connection: Connection, message: Message, number: int, flags: int = 0) -> bytes:
    return pack_request(
        RequestHeader(connection.next_id(), number, flags=flags, span=number - 1), table.encode(message)
    )


def test_what_was_answered_survives_a_power_cut(machine: Machine) -> None:
    machine.start()
    with machine.connect() as connection:
        for number in range(1, 30):
            connection.call(put(f"k{number}"), number=number)
    machine.cut_power()
    machine.start()
    with machine.connect() as connection:
        assert all(there(connection, f"k{number}") for number in range(1, 30))


def test_the_answer_comes_after_the_sync(machine: Machine) -> None:
    machine.start()
    with machine.connect() as connection:
        connection.call(put("first"), number=1)
        machine.files.control(sync_us=SYNC_US)
        connection.send(frame(connection, put("second"), 2))
        answered = reply_within(connection, A_MOMENT_S)
    machine.cut_power()
    machine.start()
    with machine.connect() as connection:
        assert there(connection, "first")
        assert answered is None or there(connection, "second"), "answered before it was durable"


def test_nobody_sees_what_a_power_cut_could_take_back(machine: Machine) -> None:
    machine.start()
    with machine.connect() as writer, machine.connect() as reader:
        writer.call(put("first"), number=1)
        machine.files.control(sync_us=SYNC_US)
        writer.send(frame(writer, put("second"), 2, FLAG_ASYNC))
        # Acknowledged from the journal's file: written, and for the length of a sync not durable.
        assert isinstance(writer.receive().decode(), StateStored)
        seen = there(reader, "second")
    machine.cut_power()
    machine.start()
    with machine.connect() as connection:
        assert not seen or there(connection, "second"), "seen before it was durable"


def test_an_asynchronous_write_survives_a_kill(machine: Machine) -> None:
    machine.start()
    with machine.connect() as connection:
        machine.files.control(sync_us=SYNC_US)
        assert isinstance(
            connection.call_raw(table.encode(put("async")), number=1, flags=FLAG_ASYNC).decode(), StateStored
        )
    machine.daemon.kill()
    machine.files.calm()
    machine.start()
    with machine.connect() as connection:
        assert there(connection, "async")


def test_segments_keep_their_names(machine: Machine) -> None:
    """The journal goes on in file after file; the newest one's name is as durable as what is in it."""
    machine.start(journal__segment_bytes=65_536, journal__compress_bytes_min=0)
    large = Raw(table.encode(b"x" * 9_000))
    with machine.connect() as connection:
        for number in range(1, 60):
            connection.call(StatePut(NAMESPACE, f"k{number}", large), number=number)
    assert len(list(machine.daemon.data.glob("journal/0*.segment"))) > 3
    machine.cut_power()
    machine.start()
    with machine.connect() as connection:
        assert all(there(connection, f"k{number}") for number in range(1, 60))


def test_records_flushed_before_a_power_cut_come_back_with_the_journal_trimmed(machine: Machine) -> None:
    """Checkpoints let the journal go: what they stand for must be in RocksDB's files, synced, under synced names."""
    options = {
        "journal__segment_bytes": 65_536,
        "journal__compress_bytes_min": 0,
        "records__checkpoint_commits_max": 100,
        "records__checkpoint_bytes_max": 1 << 20,
    }
    machine.start(**options)
    value = Raw(table.encode(b"x" * 4_000))
    first_segment = machine.daemon.data / "journal" / f"{1:020}.segment"
    written = 0
    with machine.connect() as connection:
        while first_segment.exists() or written < 300:
            written += 1
            assert written < 50_000, "the journal was never trimmed"
            connection.call(StatePut(NAMESPACE, f"k{written}", value), number=written, span=1)
    machine.cut_power()
    machine.start(**options)
    with machine.connect() as connection:
        assert all(there(connection, f"k{number}") for number in range(1, written + 1))


def test_a_failed_sync_ends_the_daemon_and_answers_nobody(machine: Machine) -> None:
    machine.start()
    with machine.connect() as connection:
        connection.call(put("first"), number=1)
        machine.files.control(syncs_until_failure=0, target=TARGET_JOURNAL)
        connection.send(frame(connection, put("second"), 2))
        with pytest.raises(OSError, match=r"closed|reset"):
            connection.receive()
        assert machine.daemon.wait_exit(30.0) != 0
    machine.cut_power()
    machine.start()
    with machine.connect() as connection:
        assert there(connection, "first")
        assert not there(connection, "second")


def test_a_full_disk_refuses_writes_and_nothing_else(machine: Machine) -> None:
    machine.start(journal__segment_bytes=65_536, journal__compress_bytes_min=0)
    value = Raw(table.encode(b"x" * 9_000))
    with machine.connect() as connection:
        connection.call(put("first"), number=1)
        machine.files.control(disk_full=True)
        number, refusal = 2, None
        while refusal is None and number < 200:
            reply = connection.call_raw(
                table.encode(StatePut(NAMESPACE, f"k{number}", value)), number=number, span=number - 1
            ).decode()
            refusal = reply if isinstance(reply, ErrorReply) else None
            number += 1
        assert refusal is not None
        assert refusal.code == 301, refusal
        assert there(connection, "first")
        machine.files.calm()
        refused = table.encode(StatePut(NAMESPACE, f"k{number - 1}", value))
        while isinstance(reply := connection.call_raw(refused, number=number - 1).decode(), ErrorReply):
            assert reply.code == 301, reply
        assert isinstance(reply, StateStored)
    machine.cut_power()
    machine.start()
    with machine.connect() as connection:
        assert all(there(connection, f"k{each}") for each in range(2, number))


def test_a_retry_is_answered_and_not_done_again(machine: Machine) -> None:
    """In flight, after the answer, on another connection, after a kill, after a power cut: the item is there once."""
    machine.start()
    append = LogAppend(NAMESPACE, "log", (ONE,))
    with machine.connect() as first:
        session = first.session_id
        with machine.connect(session) as second:
            first.send(frame(first, append, 1) + frame(first, append, 1))
            second.send(frame(second, append, 1))
            answers = [first.receive(), first.receive(), second.receive()]
            answers.append(second.call_raw(table.encode(append), number=1))
    machine.daemon.kill()
    machine.start()
    with machine.connect(session) as connection:
        answers.append(connection.call_raw(table.encode(append), number=1))
    machine.cut_power()
    machine.start()
    with machine.connect(session) as connection:
        answers.append(connection.call_raw(table.encode(append), number=1))
        assert isinstance(answers[0].decode(), LogAppended)
        assert len({(answer.position, answer.body) for answer in answers}) == 1
        info = connection.call(LogHead(NAMESPACE, "log"))
        assert isinstance(info, LogInfo)
        assert info.next == 1


def test_guards_see_what_is_on_its_way(machine: Machine) -> None:
    """Of two guarded writes that are in flight together one wins, whichever connections they come from."""
    machine.start()
    with machine.connect() as one, machine.connect() as two:
        machine.files.control(sync_us=SYNC_US // 10)
        one.send(frame(one, put("key", if_absent=True), 1) + frame(one, put("key", if_absent=True), 2))
        two.send(frame(two, put("key", if_absent=True), 1) + frame(two, put("key", if_version=1), 2))
        replies = [one.receive(), one.receive(), two.receive(), two.receive()]
        versions = sorted(reply.decode().version for reply in replies if not reply.is_error)  # type: ignore[attr-defined]
        assert versions == [1, 2]


def test_an_undisturbed_daemon_does_its_work(machine: Machine) -> None:
    """Without crash, retry or contention: what any daemon must do, also one with a promise broken on purpose."""
    machine.start()
    with machine.connect() as connection:
        for number in range(1, 101):
            stored = connection.call(put(f"k{number % 10}"), number=number)
            assert isinstance(stored, StateStored)
            assert stored.version == (number + 9) // 10
        assert isinstance(
            connection.call_raw(table.encode(put("async")), number=101, flags=FLAG_ASYNC).decode(), StateStored
        )
        connection.call(LogAppend(NAMESPACE, "log", (ONE,)), number=102)
    assert machine.daemon.terminate() == 0
    machine.start()
    with machine.connect() as connection:
        assert all(there(connection, f"k{number}") for number in range(10))
        assert there(connection, "async")


def test_the_absent_stay_absent(machine: Machine) -> None:
    """The tests above ask whether records are there: that asking can fail."""
    machine.start()
    with machine.connect() as connection:
        assert isinstance(connection.call(StateGet(NAMESPACE, "none")), Absent)
