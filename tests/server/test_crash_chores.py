"""Kills while the daemon sweeps: expiry, refresh, pruning, checkpoints and trimming, all far more often than usual."""

from __future__ import annotations

import random
import signal
import time
from typing import Final

from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import state
from server.conftest import StartDaemon
from support.daemon_process import DaemonProcess
from support.wire import NAMESPACE, TIMEOUT_S, Wire, expect, get, plain, put

BUSY_CHORES: Final[dict[str, object]] = {
    "server__sweep_interval_ms": 10,
    "server__touch_interval_ms": 10,
    "records__checkpoint_commits_max": 100,
    "records__checkpoint_interval_s": 1,
    "journal__segment_bytes": 64 * 1024,
    "journal__seal_idle_ms": 10,
    "history__count": 3,
    "history__age_s": 1,
}
ROUNDS: Final = 4
WRITES: Final = 600


def write_until_killed(daemon: DaemonProcess, noise: random.Random, kept: dict[str, int]) -> None:
    """Write what stays, what expires and what slides; kill in the middle. kept: the newest acknowledged of each key."""
    kill_at = noise.randrange(WRITES // 3, WRITES)
    with daemon.connect() as wire:
        sent: dict[int, tuple[str, int]] = {}
        for index in range(WRITES):
            key = f"kept {noise.randrange(20)}"
            sent[wire.send(put(key, kept.get(key, 0) + index + 1, ttl_us=None))] = (key, kept.get(key, 0) + index + 1)
            wire.send(put(f"brief {index % 50}", index, ttl_us=noise.choice((1_000, 20_000, 3_600_000_000))))
            wire.send(put(f"sliding {index % 10}", index, ttl_us=30_000, sliding=True))
            wire.send(get(f"sliding {index % 10}"))
            if index % 50 == 49 or index == kill_at:
                for request_id in tuple(sent):
                    expect(state.StateStored, wire.wait(request_id).reply)
                    key, value = sent.pop(request_id)
                    kept[key] = value
            if index == kill_at:
                daemon.end(signal.SIGKILL)
                return


def check(wire: Wire, kept: dict[str, int]) -> None:
    """Hold that every view of the records agrees with what was acknowledged and with the others."""
    for key, value in kept.items():
        record = expect(state.StateRecord, wire.ask(get(key)))
        assert plain(record.value) == value
        history = expect(state.StateVersions, wire.ask(state.StateHistory(NAMESPACE, key)))
        numbers = [version.version for version in history.versions]
        assert numbers == list(range(record.version, record.version - len(numbers), -1))
        assert 1 <= len(numbers) <= 3
        assert numbers[-1] == history.first_version
    records = {record.key: record for record in everything(wire)}
    assert set(kept) <= set(records)
    lasting = [key for key in records if not key.startswith("sliding")]
    assert expect(messages.Counted, wire.ask(state.StateCount(NAMESPACE, "kept"))).count == len(kept)
    for key in lasting:
        reply = wire.ask(get(key))
        if isinstance(reply, state.StateRecord):
            assert (reply.version, reply.expires_at) == (records[key].version, records[key].expires_at)


def write_until_trimmed(wire: Wire, noise: random.Random) -> None:
    """Fill segments until a checkpoint has let the first of them go."""
    until = time.monotonic() + TIMEOUT_S
    while expect(messages.Status, wire.ask(messages.StatusRequest())).status["journal"]["first_seq"] == 1:
        assert time.monotonic() < until, "the journal is not trimmed"
        wire.ask(put("filling", noise.randbytes(8 * 1024)))


def everything(wire: Wire) -> list[state.StateRecord]:
    found: list[state.StateRecord] = []
    cursor = b""
    while True:
        page = expect(state.StatePage, wire.ask(state.StateScan(NAMESPACE, limit=7, cursor=cursor)))
        found += page.records
        cursor = page.cursor
        if not cursor:
            return found


def test_kills_while_the_daemon_sweeps(start_daemon: StartDaemon) -> None:
    noise = random.Random(2)
    kept: dict[str, int] = {}
    for _ in range(ROUNDS):
        daemon = start_daemon(**BUSY_CHORES).ready()
        with daemon.connect() as wire:
            check(wire, kept)
        write_until_killed(daemon, noise, kept)
        assert "error" not in daemon.log
    daemon = start_daemon(**BUSY_CHORES).ready()
    with daemon.connect() as wire:
        check(wire, kept)
        write_until_trimmed(wire, noise)
    assert daemon.end() == 0
    assert "error" not in daemon.log
