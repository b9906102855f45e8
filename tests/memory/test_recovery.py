"""Recovery: from any point at which records and sessions were made durable, the journal leads to the same end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from memory.asking import configure, get, key_of, plain, put
from memory.engine import MemoryEngine, records
from memory.harness import START, ListJournal, Store
from memory.stories import POLICY, REQUESTS, SESSION, eventful
from recollectd.memory import recovery
from recollectd.memory.recovery import Recovered, ViewAheadError, recover
from recollectd.memory.sessions import Sessions
from recollectd.storage.engine_errors import EngineStalled
from recollectd.storage.keyspace import PUT, SESSIONS_KEY, Family, pack_number

if TYPE_CHECKING:
    from recollectd.journal.interface import Journal
    from recollectd.storage.engine import Engine


def recovered(store: Store, engine: MemoryEngine, progress: Any = lambda done, of: None) -> Recovered:
    journal = cast("Journal", ListJournal(store.journal))
    return recover(cast("Engine", engine), journal, POLICY, progress)


def test_from_every_durable_point_to_the_same_end() -> None:
    """Records durable up to one commit, sessions up to an earlier one, as checkpoints and flushes leave them."""
    store = eventful()
    end = len(store.journal)
    for sessions_seq in (0, 1, 4, 9, end):
        rows = sessions_at(store, sessions_seq).checkpoint()
        for records_seq in range(sessions_seq, end + 1):
            engine = store.replay(MemoryEngine(), to=sessions_seq)
            engine.write([*rows, (PUT, Family.META, SESSIONS_KEY, pack_number(sessions_seq))], sessions_seq)
            store.replay(engine, sessions_seq, records_seq)
            found = recovered(store, engine)
            assert records(engine) == records(store.engine)
            assert found.replayed == end - records_seq
            assert found.policies.of(key_of("k")).count == 2
            assert len(found.sessions) == 1
            for number in range(REQUESTS - 3, REQUESTS + 1):
                outcome = found.sessions.outcome(SESSION, number, number)
                assert outcome is not None
                assert outcome == store.sessions.outcome(SESSION, number, number)


def sessions_at(store: Store, seq: int) -> Sessions:
    """The sessions as of a commit."""
    journal = cast("Journal", ListJournal(store.journal[:seq]))
    return recover(cast("Engine", MemoryEngine()), journal, POLICY, lambda done, of: None).sessions


def test_progress_is_told() -> None:
    store = eventful()
    told: list[tuple[int, int]] = []
    recovered(store, MemoryEngine(), lambda done, of: told.append((done, of)))
    end = len(store.journal)
    assert told[-1] == (end, end)
    assert told == sorted(told)
    assert len(told) == (end + 2) // 3


def test_with_nothing_to_do_nothing_is_read() -> None:
    store = eventful()
    store.checkpoint()
    told: list[tuple[int, int]] = []
    assert recovered(store, store.engine.copy(), lambda done, of: told.append((done, of))).replayed == 0
    assert told == []
    assert recovered(Store(), MemoryEngine()).replayed == 0


def test_records_ahead_of_the_journal_are_refused() -> None:
    store = eventful()
    with pytest.raises(ViewAheadError, match="records are at commit"):
        recovered(Store(), store.engine.copy())
    store.journal.pop()
    with pytest.raises(ViewAheadError, match="journal is older"):
        recovered(store, store.engine.copy())


def test_sessions_ahead_of_the_journal_are_refused() -> None:
    engine = MemoryEngine()
    engine.write([(PUT, Family.META, SESSIONS_KEY, pack_number(3))], 0)
    with pytest.raises(ViewAheadError, match="sessions are at commit 3"):
        recovered(Store(), engine)


def test_a_stalled_engine_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    store = eventful()
    monkeypatch.setattr(recovery, "_STALL_PAUSE_S", 0)

    class Stalling(MemoryEngine):
        stalls = 5

        def write(self, writes: Any, applied_seq: int) -> None:
            if self.stalls:
                self.stalls -= 1
                raise EngineStalled("Write stall")
            super().write(writes, applied_seq)

    engine = Stalling()
    recovered(store, engine)
    assert engine.stalls == 0
    assert records(engine) == records(store.engine)


def test_many_rows_are_walked_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_STEP_ROWS", 2)
    store = Store()
    for index in range(7):
        store.write(configure(index + 1, ns=("acme", str(index))))
    found = recovered(store, MemoryEngine())
    for index in range(7):
        store.write(put("a", 1, ("acme", str(index))))
        key = next(key for key in store.engine.families[Family.HEADS] if key.endswith(b"%d\0a" % index))
        assert found.policies.of(key).count == index + 1


def test_the_store_goes_on_after_a_crash() -> None:
    store = eventful()
    time = store.last_time
    store.now = START
    store.crash()
    assert plain(store.read(get("t")).value) == 3
    assert store.write(put("t", 5)).updated_at == time, "journal time does not go back over a restart"
    store.check_replay()
