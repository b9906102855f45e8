"""Time to live: from expires_at on a record is absent for every read and guard, before its event and after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memory.asking import NS, count, delete, get, guard, history, key_of, plain, put, scan, touch, transaction
from memory.harness import SECOND, START, Store
from recollectd.memory.state import sweeps
from recollectd.memory.state.sweeps import Expire, Refresh
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import state
from recollectd.protocol.messages.connection import Deleted
from recollectd.protocol.messages.fields import Kind
from recollectd.protocol.messages.state import Absent
from recollectd.protocol.messages.transactions import Guard, RangeGuard
from recollectd.storage.keyspace import Family

TTL = 10 * SECOND


@pytest.fixture
def store() -> Store:
    """A record that expires at START + TTL, and one that does not."""
    store = Store()
    store.write(put("a", 1, ttl_us=TTL))
    store.write(put("b", 2))
    return store


def nothing(store: Store) -> None:
    """The expiry's event has not been written."""


def sweep(store: Store) -> None:
    """The expiry's event has been written, if it is due."""
    store.run(Expire())


both = pytest.mark.parametrize("before", [nothing, sweep], ids=["before the event", "after the sweep"])


@both
def test_the_last_microsecond_of_a_life(store: Store, before: Callable[[Store], None]) -> None:
    store.now = START + TTL - 1
    before(store)
    assert plain(store.read(get("a")).value) == 1
    assert [record.key for record in store.read(scan()).records] == ["a", "b"]
    assert store.read(scan()).valid_until == START + TTL
    assert store.read(count()).count == 2
    assert store.read(count()).valid_until == START + TTL
    assert store.read(state.StateGetMany(NS, ("a",))).records != (None,)
    with pytest.raises(errors.VersionConflict):
        store.write(put("a", 3, if_absent=True))
    assert store.write(transaction(guards=[guard(Kind.STATE, "a", 1)])).results == ()
    assert store.write(put("a", 3, if_version=1)).version == 2
    store.check_replay()


@both
def test_the_first_microsecond_after_it(store: Store, before: Callable[[Store], None]) -> None:
    store.now = START + TTL
    before(store)
    assert store.read(get("a")) == Absent()
    assert [record.key for record in store.read(scan()).records] == ["b"]
    assert [record.key for record in store.read(scan(values=False)).records] == ["b"]
    assert store.read(scan()).valid_until == limits.TIME_US_MAX
    assert store.read(count()).count == 1
    assert store.read(state.StateGetMany(NS, ("a",))).records == (None,)
    assert plain(store.read(get("a", version=1)).value) == 1, "history stays"
    assert plain(store.read(get("a", as_of=START + TTL - 1)).value) == 1
    assert store.read(get("a", as_of=START + TTL)) == Absent()
    with pytest.raises(errors.NotFound):
        store.write(touch("a", TTL))
    with pytest.raises(errors.VersionConflict, match="found 0"):
        store.write(put("a", 3, if_version=1))
    with pytest.raises(errors.TransactionConflict):
        store.write(transaction(guards=[guard(Kind.STATE, "a", 1)]))
    assert store.write(transaction(guards=[guard(Kind.STATE, "a", 0)])).results == ()
    assert store.write(put("a", 3, if_absent=True)).version == 3, "the expiry was version 2"
    store.check_replay()


@both
def test_deleting_what_has_expired_is_deleting_nothing(store: Store, before: Callable[[Store], None]) -> None:
    store.now = START + TTL
    before(store)
    assert store.write(delete("a", if_version=0)) == Deleted(0)
    with pytest.raises(errors.VersionConflict):
        store.write(delete("a", if_version=1))
    assert store.write(state.StateDeletePrefix(NS, "a")) == Deleted(0, True, b"")
    assert store.engine.count(Family.INDEX) == 0, "whoever finds the expiry first makes it an event"
    store.check_replay()


@both
@pytest.mark.parametrize("later", [0, 5 * SECOND])
def test_history_tells_the_expiry_at_its_time(store: Store, before: Callable[[Store], None], later: int) -> None:
    store.now = START + TTL + later
    before(store)
    store.write(put("a", 3))
    versions = store.read(history("a")).versions
    assert [(each.version, each.updated_at, each.deleted) for each in versions] == [
        (3, START + TTL + later, False),
        (2, START + TTL, True),
        (1, START, False),
    ]
    assert store.read(get("a")).created_at == START + TTL + later
    as_of = START + TTL + later // 2
    assert (store.read(get("a", as_of=as_of)) == Absent()) is bool(later)


def test_a_delayed_expiry_is_no_second_one(store: Store) -> None:
    """The sweep found the record due; before its event is sequenced the record is written again."""
    store.now = START + TTL
    expire = Expire()
    store.prepare(expire)
    store.sequence(put("a", "alive again"))
    store.sequence(expire)
    store.apply()
    assert plain(store.read(get("a")).value) == "alive again"
    assert [each.deleted for each in store.read(history("a")).versions] == [False, True, False]
    store.check_replay()


def test_the_sweep_takes_what_is_due_and_leaves_the_rest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "_STEP", 3)
    for index in range(10):
        store.write(put(f"x{index}", index, ttl_us=TTL + index))
    store.now = START + TTL + 4
    expire = Expire()
    runs = 0
    while store.run(expire):
        runs += 1
        assert runs < 10
    assert runs == 2
    assert store.engine.count(Family.INDEX) == 5
    assert [record.key for record in store.read(scan()).records] == ["b", "x5", "x6", "x7", "x8", "x9"]
    store.now = START + TTL + 9
    while store.run(expire):
        pass
    assert store.engine.count(Family.INDEX) == 0
    store.check_replay()


@pytest.mark.parametrize("due", [False, True], ids=["finding nothing", "finding another"])
def test_an_expiry_applied_late_is_still_found(store: Store, due: bool) -> None:
    """A commit waits for its sync while the sweep walks past its expiry: the next sweep must go back for it."""
    store.write(put("due", 3, ttl_us=15 if due else TTL))
    store.now = START + 5
    store.sequence(put("late", 4, ttl_us=5))
    store.now = START + 20
    expire = Expire()
    store.prepare(expire)
    assert expire.idle is not due
    store.apply()
    while store.run(expire):
        pass
    assert [version.deleted for version in store.read(history("late")).versions] == [True, False]
    assert store.engine.count(Family.INDEX) == 2 - due


def test_a_sliding_record_lives_on_by_being_read(store: Store) -> None:
    store.write(put("s", 1, ttl_us=TTL, sliding=True))
    store.now += TTL - 1
    view = store.view()
    store.read(get("s"), view=view)
    store.read(state.StateGetMany(NS, ("s", "b")), view=view)
    store.read(scan(), view=view)
    assert set(view.touches) == {key_of("s")}
    store.run(Refresh(view.touches))
    assert store.read(get("s")).expires_at == START + 2 * TTL - 1
    store.now += TTL - 1
    assert plain(store.read(get("s")).value) == 1
    store.now += 1
    assert store.read(get("s")) == Absent()
    store.check_replay()


@pytest.mark.parametrize("request_", [get("s", version=1), get("s", as_of=START), history("s"), count()])
def test_looking_back_does_not_slide(store: Store, request_: Any) -> None:
    store.write(put("s", 1, ttl_us=TTL, sliding=True))
    view = store.view()
    store.read(request_, view=view)
    assert view.touches == []


def test_a_refresh_is_no_change_to_anybody(store: Store) -> None:
    """Neither the revision nor a range moves: or a transaction would fail by its own reading."""
    store.write(put("s", 1, ttl_us=TTL, sliding=True))
    store.now += SECOND
    read = store.read(get("s"))
    page = store.read(scan())
    position = store.position
    store.run(Refresh([key_of("s")]))
    after = store.read(get("s"))
    assert (after.version, after.revision, after.updated_at) == (read.version, read.revision, read.updated_at)
    assert after.expires_at == read.expires_at + SECOND
    guards = (guard(Kind.STATE, "s", read.revision), RangeGuard(Kind.STATE, NS, position, page.valid_until))
    assert store.write(transaction(put("t", 1), guards=guards)).results[0].version == 1
    assert store.write(put("s", 2, if_version=1)).version == 2


def test_a_touch_is_a_change(store: Store) -> None:
    read = store.read(get("a"))
    position = store.position
    store.write(touch("a", TTL))
    guards: tuple[Guard, ...] = (guard(Kind.STATE, "a", read.revision), RangeGuard(Kind.STATE, NS, position))
    for each in guards:
        with pytest.raises(errors.TransactionConflict):
            store.write(transaction(guards=[each]))


def test_a_late_refresh_wakes_nothing(store: Store) -> None:
    store.write(put("s", 1, ttl_us=TTL, sliding=True))
    store.write(put("t", 1, ttl_us=TTL, sliding=True))
    store.write(put("u", 1, ttl_us=TTL, sliding=True))
    store.write(delete("t"))
    store.write(touch("u"))
    store.now += TTL
    store.run(Refresh([key_of(key) for key in ("s", "t", "u", "never")]))
    assert store.read(get("s")) == Absent()
    assert store.read(get("t")) == Absent()
    assert store.read(get("u")).expires_at is None, "without a time to live there is nothing to slide"
    assert store.read(get("never")) == Absent()
    store.check_replay()


def test_touching_and_rewriting_leave_one_expiry_at_most(store: Store) -> None:
    for request in (
        put("a", 1, ttl_us=TTL),
        put("a", 1, ttl_us=TTL + 1),
        touch("a", TTL),
        touch("a", 5),
        touch("a"),
        touch("a", 7),
        put("a", 2),
        put("a", 2, ttl_us=TTL, sliding=True),
        delete("a"),
        put("a", 3, ttl_us=limits.TTL_US_MAX),
    ):
        store.write(request)
        record = store.read(get("a"))
        expected = int(record != Absent() and record.expires_at is not None)
        assert store.engine.count(Family.INDEX) == expected
    store.check_replay()


def test_a_life_ends_with_time_itself() -> None:
    store = Store()
    store.now = limits.TIME_US_MAX - 1
    assert store.write(put("a", 1, ttl_us=TTL)).expires_at == limits.TIME_US_MAX
