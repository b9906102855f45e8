"""What `status` tells: every section, counts that are right, and nothing that JSON could not carry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recollectd.config.environment import HOT_PATH, Way
from recollectd.protocol import errors
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import conversations, logs, state, transactions
from recollectd.server import daemon
from recollectd.storage.engine_errors import EngineStalled
from server.conftest import StartDaemon
from support.daemon_process import DaemonProcess
from support.manual_daemon import ManualDaemon, Peer
from support.wire import NAMESPACE, expect, get, put, raw, refusal

SECTIONS = {
    *(
        "daemon",
        "connections",
        "operations",
        "errors",
        "journal",
        "views",
        "queues",
        "caches",
        "freezes",
        "process",
        "records",
    ),
}


def status_of(peer: Peer, *, namespaces: bool = False) -> dict[str, Any]:
    return expect(messages.Status, peer.ask(messages.StatusRequest(namespaces))).status


def test_every_section_is_there(served: DaemonProcess) -> None:
    with served.connect() as wire:
        wire.ask(put("k"))
        status = expect(messages.Status, wire.ask(messages.StatusRequest(True))).status
    assert set(status) >= SECTIONS | {"namespaces"}
    assert json.loads(json.dumps(status)) == status
    assert status["daemon"]["pid"] == served.process.pid
    assert status["daemon"]["addresses"] == [f"unix://{served.socket}"]
    assert status["daemon"]["store_id"] == wire.welcome.store_id.hex()
    assert status["journal"]["syncs"] >= 1
    assert sum(status["journal"]["sync_us_histogram"].values()) == status["journal"]["syncs"]
    assert status["process"]["resident_bytes"] > 0
    assert status["process"]["threads"] > 1


def test_connections_are_counted(manual: ManualDaemon) -> None:
    peer, other, gone = manual.connect(), manual.connect(), manual.connect()
    gone.hang_up()
    other.ask(transactions.Watch(NAMESPACE))
    peer.ask(put("k"))
    connections = status_of(peer)["connections"]
    assert (connections["open"], connections["total"], connections["watches"]) == (2, 3, 1)
    assert connections["sessions"] == 1
    assert connections["max"] == 10_000


def test_operations_are_counted_by_kind(manual: ManualDaemon) -> None:
    peer = manual.connect()
    for _ in range(3):
        peer.ask(put("k"))
    peer.ask(get("k"))
    assert status_of(peer)["operations"] == {"Hello": 1, "StateGet": 1, "StatePut": 3, "StatusRequest": 1}


def test_errors_are_counted_by_name(manual: ManualDaemon) -> None:
    """Wherever they come from: refused at once, by what is stored, by a read."""
    peer = manual.connect()
    assert refusal(peer.ask(put("")))[0] == errors.InvalidArgument.row.code
    for _ in range(2):
        assert refusal(peer.ask(put("k", if_version=5)))[0] == errors.VersionConflict.row.code
    history = conversations.ConversationHistory(NAMESPACE, "nowhere")
    for _ in range(3):
        assert refusal(peer.ask(history))[0] == errors.NotFound.row.code
    assert status_of(peer)["errors"] == {"INVALID_ARGUMENT": 1, "NOT_FOUND": 3, "VERSION_CONFLICT": 2}


def test_the_lag_of_views(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("k"))
    manual.engine.refusals = [EngineStalled("Write stall")] * 100
    peer.send(put("k"))
    status = status_of(manual.connect())
    assert status["views"]["records"] == {"applied_seq": 1, "lag": 1}
    assert status["queues"]["apply_stalls"] == 1
    assert status["queues"]["unapplied_bytes"] > 0
    assert (status["journal"]["last_seq"], status["journal"]["synced_seq"]) == (2, 2)
    manual.engine.refusals.clear()
    manual.pass_time(1)
    assert status_of(peer)["views"]["records"] == {"applied_seq": 2, "lag": 0}


@pytest.mark.parametrize(("free_bytes", "said"), [(1, "low"), (1 << 40, "ok")])
def test_the_disk(manual: ManualDaemon, free_bytes: int, said: str) -> None:
    manual.free_bytes = free_bytes
    assert status_of(manual.connect())["queues"]["disk"] == said


def test_records_by_namespace_on_request(manual: ManualDaemon) -> None:
    peer = manual.connect()
    peer.ask(put("a"))
    peer.ask(put("b", ttl_us=1_000_000))
    peer.ask(put("c"))
    peer.ask(state.StateDelete(NAMESPACE, "c"))
    peer.ask(put("a", namespace=("other",)))
    peer.ask(logs.LogAppend(NAMESPACE, "l", (raw(1), raw(2))))
    peer.ask(conversations.ConversationCreate(NAMESPACE, "c"))
    assert "namespaces" not in status_of(peer)
    name = "/".join(NAMESPACE)
    counts = {name: {"state": 2, "log": 1, "conversation": 1}, "other": {"state": 1}}
    assert status_of(peer, namespaces=True)["namespaces"] == counts
    manual.pass_time(2)
    counts[name]["state"] = 1
    assert status_of(peer, namespaces=True)["namespaces"] == counts


def test_a_status_that_cannot_be_told_is_an_error(manual: ManualDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = manual.connect()
    monkeypatch.setattr(daemon, "status_of", lambda _: {"daemon": {1, 2}.add})
    assert refusal(peer.ask(messages.StatusRequest()))[0] == errors.InternalError.row.code
    assert peer.connection.requests_in_flight == 0
    expect(messages.Pong, peer.ask(messages.Ping()))


def test_recovery_is_told(start_daemon: StartDaemon) -> None:
    daemon = start_daemon().ready()
    with daemon.connect() as wire:
        for _ in range(5):
            wire.ask(put("k"))
    daemon.kill()
    with start_daemon().ready().connect() as wire:
        status = expect(messages.Status, wire.ask(messages.StatusRequest())).status
    assert status["daemon"]["recovered_commits"] == 5
    assert status["views"]["records"] == {"applied_seq": 5, "lag": 0}


def test_the_hit_ratio_of_each_level(start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is read from the disk, then from its block, then as it went out; and one that nobody has written."""
    monkeypatch.setenv(HOT_PATH, Way.ON.value)
    daemon = start_daemon().ready()
    with daemon.connect() as wire:
        for number in range(100):
            wire.ask(put(f"k{number}"))
    daemon.end()
    with start_daemon().ready().connect() as wire:
        for key in ("k1", "k1", "k1", "k2"):
            expect(state.StateRecord, wire.ask(get(key)))
        expect(state.Absent, wire.ask(get("nowhere")))
        caches = expect(messages.Status, wire.ask(messages.StatusRequest())).status["caches"]
    values, blocks, disk = (caches[level] for level in ("values", "blocks", "disk"))
    assert (values["hits"], values["misses"], values["hit_ratio"]) == (2, 3, 0.4)
    assert blocks["misses"] > 0
    assert blocks["hits"] > 0
    assert blocks["hit_ratio"] == round(blocks["hits"] / (blocks["hits"] + blocks["misses"]), 4)
    assert disk["hits"] >= 4, "head and version of two records"
    assert disk["misses"] >= 1
    assert 0 < disk["hit_ratio"] < 1
