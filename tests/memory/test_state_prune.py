"""Pruning by age: versions go when a read as of that age no longer needs them, tombstones a day after that at least."""

from __future__ import annotations

import pytest

from memory.asking import NS, configure, delete, get, history, key_of, plain, put
from memory.harness import SECOND, START, Store
from recollectd.memory.settings.events import HistoryPolicy
from recollectd.memory.settings.policies import Policies
from recollectd.memory.state import sweeps
from recollectd.memory.state.sweeps import TOMBSTONE_AGE_US_MIN, Prune
from recollectd.protocol import errors
from recollectd.protocol.messages.fields import Write
from recollectd.protocol.messages.state import Absent
from recollectd.storage.keyspace import Family

AGE = 1_000 * SECOND


@pytest.fixture
def store() -> Store:
    return Store(policy=HistoryPolicy(age_us=AGE))


def prune(store: Store) -> bool:
    """One round over all heads."""
    sweep = Prune(store.sequencer.policies)
    found = store.run(sweep)
    while sweep.place:
        found |= store.run(sweep)
    return found


def kept(store: Store, key: str = "a") -> list[int]:
    return [each.version for each in store.read(history(key, limit=1_000)).versions]


def test_a_version_goes_when_its_successor_is_as_old_as_the_age(store: Store) -> None:
    for version in range(1, 5):
        store.now = START + version * SECOND
        store.write(put("a", version))
    store.now = START + AGE + 3 * SECOND - 1
    assert prune(store)
    assert kept(store) == [4, 3, 2]
    assert plain(store.read(get("a", as_of=store.now - AGE)).value) == 2, "what the age promises is there"
    store.now += 1
    prune(store)
    assert kept(store) == [4, 3]
    with pytest.raises(errors.HistoryPruned):
        store.read(get("a", as_of=START + 3 * SECOND - 1))
    store.now += AGE
    prune(store)
    assert kept(store) == [4], "the newest stays for ever"
    assert store.engine.count(Family.VALUES) == 1
    assert not prune(store)
    assert store.write(put("a", 5, if_version=4)).version == 5
    store.check_replay()


def test_nothing_is_pruned_without_an_age() -> None:
    store = Store(policy=HistoryPolicy(count=5))
    for version in range(1, 4):
        store.write(put("a", version))
    store.write(delete("a"))
    store.now += 1_000 * TOMBSTONE_AGE_US_MIN
    assert not prune(store)
    assert kept(store) == [4, 3, 2, 1]


def test_each_namespace_has_its_own_age(store: Store) -> None:
    store.write(configure(None, 5 * AGE, ns=("acme", "slow")))
    for ns in (NS, ("acme", "slow"), ("acme", "slow", "below")):
        store.write(put("a", 1, ns))
        store.write(put("a", 2, ns))
    store.now += 2 * AGE
    prune(store)
    versions = [len(store.read(history("a", ns)).versions) for ns in (NS, ("acme", "slow"), ("acme", "slow", "below"))]
    assert versions == [1, 2, 2]


def test_a_tombstone_stays_a_day_and_the_age(store: Store) -> None:
    store.write(put("a", 1))
    store.write(delete("a"))
    store.now = START + TOMBSTONE_AGE_US_MIN - 1
    prune(store)
    assert kept(store) == [2]
    assert store.write(put("a", 3)).version == 3, "versions go on counting"
    store.write(delete("a"))
    store.now += TOMBSTONE_AGE_US_MIN
    assert prune(store)
    assert kept(store) == []
    assert store.engine.count(Family.HEADS) == store.engine.count(Family.VALUES) == 0
    assert store.read(get("a", version=4)) == Absent()
    assert store.write(put("a", 1)).version == 1
    store.check_replay()


def test_a_tombstone_stays_as_long_as_history(store: Store) -> None:
    store.write(configure(None, 3 * TOMBSTONE_AGE_US_MIN))
    store.write(put("a", 1))
    store.write(delete("a"))
    store.now += 3 * TOMBSTONE_AGE_US_MIN - 1
    prune(store)
    assert kept(store) == [2, 1]
    store.now += 1
    prune(store)
    assert kept(store) == []
    store.check_replay()


def test_what_was_expired_is_forgotten_too(store: Store) -> None:
    store.write(put("a", 1, ttl_us=SECOND))
    store.now += SECOND
    store.run(sweeps.Expire())
    store.now += TOMBSTONE_AGE_US_MIN
    prune(store)
    assert not store.engine.count(Family.HEADS)
    store.check_replay()


@pytest.mark.parametrize("many", [3, 20, 200], ids=["one by one", "as a range", "in several rounds"])
def test_long_histories_go_in_bounded_steps(store: Store, many: int) -> None:
    for version in range(many):
        store.now = START + version
        store.write(put("a", version))
    store.now = START + AGE + SECOND
    store.write(put("a", "young"))
    rounds = 0
    while prune(store):
        rounds += 1
        assert rounds < 10
    assert kept(store) == [many + 1, many]
    assert store.engine.count(Family.VALUES) == 2
    store.check_replay()


def test_heads_are_walked_in_bounded_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "_STEP", 4)
    for index in range(10):
        store.write(put(f"k{index}", 1))
        store.write(put(f"k{index}", 2))
    store.now += AGE
    sweep = Prune(store.sequencer.policies)
    sizes = []
    for _ in range(3):
        store.run(sweep)
        sizes.append(store.engine.count(Family.VALUES))
    assert sizes == [16, 12, 10]
    assert sweep.place == b""
    store.check_replay()


@pytest.mark.parametrize("meanwhile", [put("a", 9), delete("a"), put("a", 9, ttl_us=1)], ids=["put", "delete", "ttl"])
def test_a_record_that_moved_on_is_pruned_no_further(store: Store, meanwhile: Write) -> None:
    """What was found prunable stays so; what came since stays kept."""
    for version in range(1, 4):
        store.write(put("a", version))
    store.now += AGE
    sweep = Prune(store.sequencer.policies)
    store.prepare(sweep)
    store.sequence(meanwhile)
    store.sequence_prepared(sweep)
    store.apply()
    assert kept(store) == [4, 3]
    store.check_replay()


def test_a_tombstone_written_again_is_not_purged(store: Store) -> None:
    store.write(put("a", 1))
    store.write(delete("a"))
    store.now += TOMBSTONE_AGE_US_MIN
    sweep = Prune(store.sequencer.policies)
    store.prepare(sweep)
    store.sequence(put("a", 3))
    store.sequence_prepared(sweep)
    store.apply()
    assert plain(store.read(get("a")).value) == 3
    assert kept(store) == [3, 2]
    store.check_replay()


def test_the_newest_policy_wins_over_one_looked_up_meanwhile() -> None:
    """Pruning asks on a worker thread while the loop sets: a look-up that began before must not be remembered."""
    old, new = HistoryPolicy(count=1), HistoryPolicy(count=2)
    settings = key_of("x")[:-1]

    class Overtaken(Policies):
        overtakes = False

        def _resolve(self, namespace: bytes) -> HistoryPolicy:
            resolved = super()._resolve(namespace)
            if self.overtakes:
                self.overtakes = False
                self.set(settings, new)
            return resolved

    policies = Overtaken(HistoryPolicy(), [(settings, old)])
    policies.overtakes = True
    assert policies.of(key_of("a")) == old
    assert policies.of(key_of("a")) == new
