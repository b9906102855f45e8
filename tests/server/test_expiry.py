"""What the daemon does by itself as time passes: expiry, sliding refresh, pruning, forgetting, checkpoints."""

from __future__ import annotations

from typing import Final

import pytest

from recollectd.protocol import errors
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import fields, state, transactions
from recollectd.protocol.messages.fields import Kind
from recollectd.server import chores
from recollectd.server.clock import Clock
from recollectd.storage.engine_errors import EngineStalled
from recollectd.storage.keyspace import INDEX_SESSION, Family
from server.conftest import MakeDaemon
from support.manual_daemon import START_US, ManualDaemon, Peer
from support.wire import NAMESPACE, expect, get, put, refusal

SECOND: Final = 1_000_000
DAY_S: Final = 86_400


@pytest.fixture
def working(manual: ManualDaemon) -> ManualDaemon:
    """A daemon whose chores run."""
    manual.daemon.chores.start()
    return manual


def deletions(peer: Peer, key: str) -> list[bool]:
    """Return of each version, the newest first, whether it is a deletion or an expiry."""
    history = expect(state.StateVersions, peer.ask(state.StateHistory(NAMESPACE, key)))
    return [version.deleted for version in history.versions]


def checkpoints(manual: ManualDaemon) -> int:
    return manual.daemon.chores.checkpoints


def is_stepped(manual: ManualDaemon) -> bool:
    return manual.daemon.clock.stepped


def is_there(peer: Peer, key: str) -> bool:
    return isinstance(peer.ask(get(key)), state.StateRecord)


def test_a_record_is_absent_before_its_expiry_is_an_event(manual: ManualDaemon) -> None:
    """The chores do not run here: for reads, scans, counts and guards the time alone decides."""
    peer = manual.connect()
    stored = expect(state.StateStored, peer.ask(put("k", ttl_us=2 * SECOND)))
    assert stored.expires_at == START_US + 2 * SECOND
    manual.pass_time(1.999_999)
    assert is_there(peer, "k")
    manual.pass_time(0.000_001)
    assert not is_there(peer, "k")
    assert expect(state.StatePage, peer.ask(state.StateScan(NAMESPACE))).records == ()
    assert expect(messages.Counted, peer.ask(state.StateCount(NAMESPACE))).count == 0
    assert expect(state.StateRecords, peer.ask(state.StateGetMany(NAMESPACE, ("k",)))).records == (None,)
    assert expect(state.StateValues, peer.ask(state.StateGetValues(NAMESPACE, ("k",)))).absent == (0,)
    assert refusal(peer.ask(state.StateTouch(NAMESPACE, "k", SECOND)))[0] == errors.NotFound.row.code
    guard = transactions.RecordGuard(Kind.STATE, NAMESPACE, "k", 0)
    expect(transactions.Results, peer.ask(transactions.Transaction((guard,), ())))
    assert expect(messages.Deleted, peer.ask(state.StateDelete(NAMESPACE, "k"))).deleted == 0
    assert expect(state.StateStored, peer.ask(put("k", if_absent=True))).version == 3


def test_the_sweep_makes_expiry_an_event(working: ManualDaemon) -> None:
    peer, watcher = working.connect(), working.connect()
    watch = watcher.send(transactions.Watch(NAMESPACE))
    peer.ask(put("k", ttl_us=2 * SECOND))
    working.pass_time(1)
    assert deletions(peer, "k") == [False]
    working.pass_time(1.5)
    assert deletions(peer, "k") == [True, False]
    changes = [answer.reply for answer in watcher.replies if answer.request_id == watch][1:]
    said = [change for reply in changes for change in expect(transactions.Changes, reply).changes]
    assert [(change.operation, change.key, change.version) for change in said] == [("put", "k", 1), ("expire", "k", 2)]


def test_many_records_expire_in_steps(working: ManualDaemon) -> None:
    peer = working.connect()
    items = tuple(state.StateItem(f"{index:04}", put("k").value) for index in range(2_500))
    peer.ask(state.StatePutMany(NAMESPACE, items, SECOND))
    before = working.journal.last_seq
    working.pass_time(2)
    assert working.journal.last_seq - before == 3
    assert not [key for key in working.engine.families[Family.INDEX] if not key.startswith(INDEX_SESSION)]


def test_an_idle_sweep_writes_nothing(working: ManualDaemon) -> None:
    peer = working.connect()
    peer.ask(put("k", ttl_us=1_000 * SECOND))
    working.pass_time(60)
    assert working.journal.last_seq == 1


def test_a_sliding_record_lives_while_it_is_read(working: ManualDaemon) -> None:
    peer = working.connect()
    peer.ask(put("k", ttl_us=5 * SECOND, sliding=True))
    peer.ask(put("unread", ttl_us=5 * SECOND, sliding=True))
    for _ in range(6):
        working.pass_time(3)
        assert is_there(peer, "k")
    assert not is_there(peer, "unread")
    working.pass_time(8)
    assert not is_there(peer, "k")
    assert deletions(peer, "k") == [True, False]


@pytest.mark.parametrize(
    "read",
    [state.StateGetMany(NAMESPACE, ("k",)), state.StateGetValues(NAMESPACE, ("k",)), state.StateScan(NAMESPACE)],
    ids=lambda read: type(read).__name__,
)
def test_other_reads_extend_it_too(working: ManualDaemon, read: fields.Request) -> None:
    peer = working.connect()
    peer.ask(put("k", ttl_us=5 * SECOND, sliding=True))
    for _ in range(4):
        working.pass_time(3)
        peer.ask(read)
    assert is_there(peer, "k")


def test_a_sliding_record_lives_with_hardly_a_head_in_memory(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__head_cache_count=1)
    manual.daemon.chores.start()
    peer = manual.connect()
    peer.ask(put("k", ttl_us=5 * SECOND, sliding=True))
    for _ in range(4):
        manual.pass_time(3)
        assert is_there(peer, "k")


def test_refreshes_are_coalesced_and_delay_no_read(working: ManualDaemon) -> None:
    peer = working.connect()
    peer.ask(put("k", ttl_us=60 * SECOND, sliding=True))
    working.journal.held = True
    for _ in range(100):
        assert is_there(peer, "k")
    working.journal.held = False
    working.pass_time(1.5)
    assert working.journal.last_seq == 2


def test_a_refresh_does_not_break_the_transaction_that_read(working: ManualDaemon) -> None:
    peer = working.connect()
    peer.ask(put("k", ttl_us=60 * SECOND, sliding=True))
    record = expect(state.StateRecord, peer.ask(get("k")))
    page = peer.answer(peer.send(state.StateScan(NAMESPACE)))
    working.pass_time(2)
    guards = (
        transactions.RecordGuard(Kind.STATE, NAMESPACE, "k", record.revision),
        transactions.RangeGuard(Kind.STATE, NAMESPACE, page.position),
    )
    expect(transactions.Results, peer.ask(transactions.Transaction(guards, (put("other"),))))


# -- the clock --------------------------------------------------------------------------------------------------------


def test_a_leap_of_the_clock_expires_nothing(working: ManualDaemon) -> None:
    peer = working.connect()
    peer.ask(put("k", ttl_us=100 * SECOND))
    working.wall_us += 10 * DAY_S * SECOND
    working.pass_time(50)
    assert is_stepped(working)
    assert is_there(peer, "k")
    assert deletions(peer, "k") == [False]
    working.wall_us -= 10 * DAY_S * SECOND
    working.pass_time(49)
    assert not is_stepped(working)
    assert is_there(peer, "k")
    working.pass_time(2)
    assert deletions(peer, "k") == [True, False]


def test_journal_time_never_goes_back(working: ManualDaemon) -> None:
    peer = working.connect()
    first = expect(state.StateStored, peer.ask(put("a"))).updated_at
    working.wall_us -= 1_000 * SECOND
    assert expect(state.StateStored, peer.ask(put("b"))).updated_at == first
    assert expect(messages.Pong, peer.ask(messages.Ping())).time >= first
    times = [batch.time for batch in working.journal.batches]
    assert times == sorted(times)


def test_a_clock_that_went_back_does_not_make_the_sweep_spin(working: ManualDaemon) -> None:
    """A reader's time may be ahead of the next commit's: what is due for the one is not for the other."""
    peer = working.connect()
    peer.ask(put("k", ttl_us=5 * SECOND))
    working.pass_time(5.1)
    working.wall_us -= 60 * SECOND
    working.pass_time(30)
    assert working.journal.last_seq < 10


class Clocks:
    """A wall clock and a steady one."""

    def __init__(self) -> None:
        self.wall_us, self.steady_us = START_US, 500
        self.clock = Clock(3_600 * SECOND, lambda: self.wall_us, lambda: self.steady_us)

    def tick(self, wall_us: int, steady_us: int) -> int:
        self.wall_us += wall_us
        self.steady_us += steady_us
        return self.clock.now()


def test_the_clock_follows_small_steps_and_not_large_ones() -> None:
    clocks = Clocks()
    assert clocks.tick(SECOND, SECOND) == START_US + SECOND
    assert clocks.tick(3_600 * SECOND, 0) == START_US + 3_601 * SECOND, "corrections are believed"
    before = clocks.clock.stepped
    assert clocks.tick(3_600 * SECOND + 1, 0) == START_US + 3_601 * SECOND, "leaps are not"
    assert (before, clocks.clock.stepped) == (False, True)
    assert clocks.tick(SECOND, SECOND) == START_US + 3_602 * SECOND, "time goes on meanwhile"


def test_suspension_is_no_leap() -> None:
    """CLOCK_BOOTTIME counts it, so both clocks go on together."""
    clocks = Clocks()
    assert clocks.tick(5 * DAY_S * SECOND, 5 * DAY_S * SECOND) == START_US + 5 * DAY_S * SECOND
    assert not clocks.clock.stepped


# -- sessions and history ---------------------------------------------------------------------------------------------


def test_silent_sessions_are_forgotten_and_used_ones_are_not(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(server__session_retention_s=600)
    manual.daemon.chores.start()
    gone, connected, writing = manual.connect(), manual.connect(), manual.connect()
    request = put("k")
    for peer in (gone, connected, writing):
        peer.ask(request)
    gone.hang_up()
    for _ in range(6):
        manual.pass_time(150)
        writing.ask(put("k"))
    assert len(manual.daemon.sessions) == 2
    assert expect(state.StateStored, connected.ask(request, number=1)).version == 2, "its retry is still answered"
    assert manual.connect(gone.welcome.session_id).welcome.session_id != gone.welcome.session_id
    assert manual.connect(writing.welcome.session_id).welcome.session_id == writing.welcome.session_id


def test_sessions_in_use_do_not_keep_others_from_being_forgotten(
    make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent but connected ones come first in the list of which a bounded number is looked at."""
    monkeypatch.setattr(chores, "_FORGET_MAX", 5)
    manual = make_daemon(server__session_retention_s=600)
    manual.daemon.chores.start()
    for peer in [manual.connect() for _ in range(6)]:
        peer.ask(put("k"))
    for peer in [manual.connect() for _ in range(3)]:
        peer.ask(put("k"))
        peer.hang_up()
    manual.pass_time(700)
    assert len(manual.daemon.sessions) == 6


def test_old_versions_are_pruned(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(history__age_s=100)
    manual.daemon.chores.start()
    peer = manual.connect()
    for value in range(5):
        peer.ask(put("k", value))
    manual.pass_time(150)
    peer.ask(put("k", 5))
    assert deletions(peer, "k") == [False, False]
    assert refusal(peer.ask(get("k", version=1)))[0] == errors.HistoryPruned.row.code


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_writes_sessions_and_trims_the_journal(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(records__checkpoint_commits_max=10)
    manual.daemon.chores.start()
    peer = manual.connect()
    for value in range(11):
        peer.ask(put("k", value))
    assert checkpoints(manual) == 0
    manual.pass_time(1)
    assert checkpoints(manual) == 1
    assert manual.daemon.chores.durable_seq == 11
    assert manual.journal.first_seq == 12
    assert any(key.startswith(INDEX_SESSION) for key in manual.engine.families[Family.INDEX])


def test_a_checkpoint_is_made_in_time(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(records__checkpoint_interval_s=60)
    manual.daemon.chores.start()
    peer = manual.connect()
    manual.pass_time(120)
    assert checkpoints(manual) == 0, "there is nothing to write"
    peer.ask(put("k"))
    manual.pass_time(61)
    assert checkpoints(manual) == 1
    manual.pass_time(300)
    assert checkpoints(manual) == 1


def test_a_checkpoint_that_stalls_loses_no_session(make_daemon: MakeDaemon) -> None:
    manual = make_daemon(records__checkpoint_interval_s=10)
    manual.daemon.chores.start()
    peer = manual.connect()
    peer.ask(put("k"))
    manual.engine.refusals = [EngineStalled("Write stall")]
    manual.pass_time(11)
    assert checkpoints(manual) == 0
    manual.pass_time(11)
    assert checkpoints(manual) == 1
    assert any(key.startswith(INDEX_SESSION) for key in manual.engine.families[Family.INDEX])


def test_a_chore_that_breaks_ends_the_daemon(working: ManualDaemon) -> None:
    """Expiry that quietly stopped would be found out by its users."""
    working.daemon.sessions.idle_since = lambda *_: 1 / 0  # type: ignore[method-assign,assignment]
    working.pass_time(61)
    assert [type(failure) for failure in working.daemon.failures] == [ZeroDivisionError]


def test_chores_survive_a_full_disk(working: ManualDaemon) -> None:
    peer = working.connect()
    peer.ask(put("k", ttl_us=SECOND))
    working.journal.full = True
    working.pass_time(10)
    assert not is_there(peer, "k")
    assert deletions(peer, "k") == [False]
    working.journal.full = False
    working.pass_time(2)
    assert deletions(peer, "k") == [True, False]


def test_a_refresh_that_met_a_full_disk_is_made_up_for(working: ManualDaemon) -> None:
    peer = working.connect()
    peer.ask(put("k", ttl_us=60 * SECOND, sliding=True))
    working.pass_time(30)
    working.journal.full = True
    assert is_there(peer, "k")
    working.pass_time(10)
    working.journal.full = False
    working.pass_time(25)
    assert is_there(peer, "k")
