"""History: every version kept can be read by number and by time; what is dropped says so and leaves no row."""

from __future__ import annotations

import pytest

from memory.asking import NS, configure, delete, get, history, plain, put, touch
from memory.harness import SECOND, START, Store
from recollectd.memory.settings.events import HistoryPolicy
from recollectd.memory.state import reads
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.state import Absent, StateGetMany, StateRecord
from recollectd.storage.keyspace import Family


@pytest.fixture
def store() -> Store:
    return Store()


def value_at(store: Store, as_of: int, key: str = "a") -> object:
    record = store.read(get(key, as_of=as_of))
    return plain(record.value) if isinstance(record, StateRecord) else None


def test_reads_as_of_every_moment(store: Store) -> None:
    """Three versions at one time, a deletion, an expiry, a version after it; each moment has one answer."""
    store.write(put("a", 1))
    store.write(put("a", 2))
    store.write(put("a", 3))
    store.now = START + 10
    store.write(delete("a"))
    store.now = START + 20
    store.write(put("a", 5, ttl_us=5))
    store.now = START + 40
    store.write(put("a", 7))
    store.now = START + 50
    moments = {
        START - 1: None,
        START: 3,
        START + 9: 3,
        START + 10: None,
        START + 19: None,
        START + 20: 5,
        START + 24: 5,
        START + 25: None,
        START + 39: None,
        START + 40: 7,
        START + 50: 7,
        limits.TIME_US_MAX: 7,
        0: None,
    }
    assert {as_of: value_at(store, as_of) for as_of in moments} == moments
    assert [each.version for each in store.read(history("a")).versions] == [7, 6, 5, 4, 3, 2, 1]


def test_the_future_is_as_far_as_the_present(store: Store) -> None:
    """What will expire has not: as of a time to come the answer is that of now."""
    store.write(put("a", 1, ttl_us=10))
    assert value_at(store, START + 1_000) == 1
    store.now = START + 10
    assert value_at(store, START + 1_000) is None
    assert value_at(store, START + 9) == 1


@pytest.mark.parametrize("number", range(1, 12))
def test_long_histories_are_searched_to_the_right_place(store: Store, number: int) -> None:
    for version in range(1, number + 1):
        store.now = START + 10 * version
        store.write(put("a", version))
    for version in range(1, number + 1):
        for moment in range(10):
            assert value_at(store, START + 10 * version + moment) == version
    assert value_at(store, START + 9) is None


def test_versions_that_never_were_are_absent(store: Store) -> None:
    store.write(put("a", 1))
    assert store.read(get("a", version=2)) == Absent()
    assert store.read(get("a", version=2**63)) == Absent()
    assert store.read(get("b", version=1)) == Absent()
    assert store.read(get("b", as_of=START)) == Absent()


def test_an_old_version_shows_the_times_it_had(store: Store) -> None:
    store.write(put("a", 1, ttl_us=SECOND))
    store.now += 5
    store.write(put("a", 2))
    old = store.read(get("a", version=1))
    assert (old.created_at, old.updated_at, old.expires_at) == (START, START, START + SECOND)
    assert (old.version, old.revision) == (1, 2), "the revision is the record's"


def test_history_in_pages(store: Store) -> None:
    for version in range(1, 151):
        store.write(put("a", version))
    seen: list[int] = []
    before = None
    pages = 0
    while before != 0:
        page = store.read(history("a", limit=70, before_version=before))
        assert page.first_version == 1
        seen += [plain(each.value) for each in page.versions]
        before, pages = page.next_before, pages + 1
    assert seen == list(range(150, 0, -1))
    assert pages == 3
    assert store.read(history("a", before_version=1)).versions == ()
    assert store.read(history("a", before_version=0)).versions == ()
    assert store.read(history("a", before_version=10**9, limit=1)).versions[0].version == 150
    nothing = store.read(history("never"))
    assert (nothing.versions, nothing.next_before, nothing.first_version) == ((), 0, 0)


def test_a_page_of_history_ends_after_so_many_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else 64 values of 8 MiB would make a reply that no frame holds."""
    monkeypatch.setattr(limits, "PAGE_BYTES_MAX", 1_000)
    for version in range(1, 11):
        store.write(put("a", b"%400d" % version))
    seen: list[int] = []
    before = None
    while before != 0:
        page = store.read(history("a", before_version=before))
        assert 1 <= len(page.versions) <= 3
        seen += [each.version for each in page.versions]
        before = page.next_before
    assert seen == list(range(10, 0, -1))


# -- how much is kept -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_so_many_versions_are_kept(count: int) -> None:
    store = Store(policy=HistoryPolicy(count=count))
    for version in range(1, 21):
        store.now += 10
        store.write(put("a", version))
        kept = store.read(history("a"))
        assert [each.version for each in kept.versions] == list(range(version, max(0, version - count), -1))
        assert kept.first_version == max(1, version - count + 1)
        assert store.engine.count(Family.VALUES) == min(version, count)
    store.write(delete("a"))
    assert store.engine.count(Family.VALUES) == count, "the deletion is one of them"
    store.write(put("a", 22))
    assert [each.version for each in store.read(history("a")).versions] == list(range(22, 22 - count, -1))
    store.check_replay()


def test_before_the_kept_history_the_answer_says_so() -> None:
    store = Store(policy=HistoryPolicy(count=2))
    for version in (1, 2, 3, 4):
        store.now = START + 10 * version
        store.write(put("a", version))
    assert [plain(store.read(get("a", version=version)).value) for version in (3, 4)] == [3, 4]
    assert (value_at(store, START + 30), value_at(store, START + 39)) == (3, 3)
    with pytest.raises(errors.HistoryPruned) as refused:
        store.read(get("a", version=2))
    assert refused.value.field == "version"
    with pytest.raises(errors.HistoryPruned) as refused:
        store.read(get("a", as_of=START + 29))
    assert refused.value.field == "as_of"


def test_an_expiry_counts_as_a_version() -> None:
    store = Store(policy=HistoryPolicy(count=2))
    store.write(put("a", 1))
    store.write(put("a", 2, ttl_us=10))
    store.now += 10
    store.write(put("a", 4))
    assert [(each.version, each.deleted) for each in store.read(history("a")).versions] == [(4, False), (3, True)]
    assert store.engine.count(Family.VALUES) == 2
    store.check_replay()


def test_many_versions_are_dropped_at_once() -> None:
    """A count that was lowered takes effect at the record's next change, as one range."""
    store = Store()
    for version in range(1, 51):
        store.write(put("a", version))
        store.write(put("a\0", version))
    store.write(configure(3))
    assert store.engine.count(Family.VALUES) == 100
    store.write(put("a", 51))
    assert [each.version for each in store.read(history("a")).versions] == [51, 50, 49]
    assert len(store.read(history("a\0", limit=100)).versions) == 50, "a neighbour's versions are its own"
    store.write(put("a\0", 51))
    assert store.engine.count(Family.VALUES) == 6
    store.check_replay()


def test_the_longest_configured_namespace_decides() -> None:
    store = Store(policy=HistoryPolicy(count=4))
    store.write(configure(1, ns=("acme",)))
    store.write(configure(2, ns=("acme", "agent")))
    store.write(configure(None, ns=("acme", "agent", "x")))
    expected = {
        ("other",): 4,
        ("acme-corp",): 4,
        ("acm",): 4,
        ("acme",): 1,
        ("acme", "agen"): 1,
        ("acme", "agent-7"): 1,
        ("acme", "agent"): 2,
        ("acme", "agent", "y"): 2,
        ("acme", "agent", "x"): 10,
        ("acme", "agent", "x", "z"): 10,
    }

    def kept(ns: tuple[str, ...]) -> int:
        for version in range(10):
            store.write(put("a", version, ns))
        return len(store.read(history("a", ns)).versions)

    assert {ns: kept(ns) for ns in expected} == expected
    store.checkpoint()
    store.write(configure(3, ns=("acme", "agent")))
    store.crash()
    store.write(put("a", 11, ("acme", "agent")))
    assert len(store.read(history("a", ("acme", "agent"))).versions) == 3, "settings survive"
    store.check_replay()


def test_settings_hold_for_what_is_sequenced_after_they_are_applied() -> None:
    """What a configuration means is in each write's event: replay does not ask again."""
    store = Store()
    for version in range(5):
        store.write(put("a", version))
    store.sequence(configure(1))
    store.sequence(put("a", 5))
    store.apply()
    assert store.engine.count(Family.VALUES) == 6
    store.write(put("a", 6))
    assert store.engine.count(Family.VALUES) == 1
    store.check_replay()


# -- races ----------------------------------------------------------------------------------------------------------


def test_a_version_dropped_while_it_is_read_is_read_again() -> None:
    """The head was read, then the record was written and its only version dropped: the reader starts over."""
    store = Store(policy=HistoryPolicy(count=1))
    store.write(put("a", 0))

    def overtake(step: int) -> None:
        if step in (1, 3, 5):
            store.write(put("a", step))

    record = store.read(get("a"), before=overtake)
    assert (plain(record.value), record.version) == (5, 4)


def test_many_are_read_again_where_versions_were_dropped() -> None:
    store = Store(policy=HistoryPolicy(count=1))
    for key in "abc":
        store.write(put(key, 0))

    def overtake(step: int) -> None:
        if step == 1:
            store.write(put("b", 1))
            store.write(delete("c"))

    records = store.read(StateGetMany(NS, ("a", "b", "c")), before=overtake)
    assert [record and plain(record.value) for record in records.records] == [0, 1, None]


@pytest.mark.parametrize("step", range(1, 8))
def test_history_pruned_while_it_is_searched_is_said_to_be_pruned(store: Store, step: int) -> None:
    """The head that was read knows of all versions; answering 'absent' by it would be a lie."""
    for version in range(1, 11):
        store.now = START + 10 * version
        store.write(put("a", version))

    def overtake(at: int) -> None:
        if at == step:
            store.write(configure(1))
            store.write(put("a", 11))

    try:
        record = store.read(get("a", as_of=START + 35), before=overtake)
    except errors.HistoryPruned:
        assert store.engine.count(Family.VALUES) == 1
    else:
        assert plain(record.value) == 3


def test_history_pruned_while_it_is_read_ends_where_it_is_pruned(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "_VERSIONS_STEP", 3)
    for version in range(1, 11):
        store.write(put("a", version))

    def overtake(at: int) -> None:
        if at == 2:
            store.write(configure(5))
            store.write(put("a", 11))

    page = store.read(history("a"), before=overtake)
    assert [each.version for each in page.versions] == [10, 9, 8, 7]
    assert (page.next_before, page.first_version) == (0, 7)


def test_a_lost_row_is_a_defect_and_not_an_absence(store: Store) -> None:
    store.write(put("a", 1))
    store.engine.families[Family.VALUES].clear()
    with pytest.raises(AssertionError, match="not on disk"):
        store.read(get("a"))


def test_a_touch_keeps_the_version_it_touches(store: Store) -> None:
    store.write(put("a", 1, ttl_us=10))
    store.write(touch("a", 100))
    store.now += 50
    store.write(put("a", 2))
    assert [(each.version, each.deleted) for each in store.read(history("a")).versions] == [(2, False), (1, False)]
    assert value_at(store, START + 40) == 1
