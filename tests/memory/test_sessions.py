"""Sessions remember what each numbered write came to, within bounds, over restarts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.asking import get, plain, put
from memory.engine import MemoryEngine
from memory.harness import SECOND, START, Store, answered
from recollectd._native.session import Outcome
from recollectd.memory.commits import Commit, SessionsForgotten
from recollectd.memory.sequencer import Author
from recollectd.memory.sessions import Sessions
from recollectd.protocol import errors, limits, table
from recollectd.protocol.messages.state import StatePut
from recollectd.storage.keyspace import INDEX_SESSION, Family

ONE = START.to_bytes(8, "big") + b"sessions"
TWO = START.to_bytes(8, "big") + b"2ndsessn"
WINDOW = limits.SESSION_WINDOW_NUMBERS
DAY = 86_400 * SECOND


def commit(
    number: int, floor: int = 1, *, digest: int = 7, session_id: bytes = ONE, time: int = START, principal: str = "ada"
) -> Commit:
    return Commit(time, principal, 16, session_id, number, floor, digest, b"reply %d" % number, ())


def forgotten(*session_ids: bytes) -> Commit:
    return Commit(START, "daemon", 0, b"", 0, 0, 0, b"", (SessionsForgotten(b"", session_ids),))


def reply_of(sessions: Sessions, number: int, digest: int = 7, session_id: bytes = ONE) -> bytes | None:
    outcome = sessions.outcome(session_id, number, digest)
    return None if outcome is None else outcome.reply


def reloaded(sessions: Sessions) -> Sessions:
    """The sessions as their rows tell them."""
    engine = MemoryEngine()
    engine.write(sessions.checkpoint(), 1)
    again = Sessions()
    again.load(engine.families[Family.INDEX].items())
    return again


def test_an_outcome_is_found_again() -> None:
    sessions = Sessions()
    assert reply_of(sessions, 1) is None
    sessions.apply(41, commit(1))
    assert sessions.outcome(ONE, 1, 7) == Outcome(7, 41, b"reply 1")
    assert reply_of(sessions, 2) is None
    assert reply_of(sessions, 1, session_id=TWO) is None, "numbers are a session's own"


def test_a_number_is_given_once() -> None:
    sessions = Sessions()
    sessions.apply(1, commit(1, digest=7))
    with pytest.raises(errors.NumberReused):
        reply_of(sessions, 1, digest=8)


def test_below_the_floor_nothing_is_known() -> None:
    sessions = Sessions()
    for number in range(1, 11):
        sessions.apply(number, commit(number))
    sessions.apply(11, commit(11, floor=8))
    for number in range(1, 8):
        with pytest.raises(errors.OutcomeUnknown):
            reply_of(sessions, number)
    assert [reply_of(sessions, number) for number in (8, 11)] == [b"reply 8", b"reply 11"]
    sessions.apply(12, commit(12, floor=3))
    with pytest.raises(errors.OutcomeUnknown):
        reply_of(sessions, 7)


def test_numbers_come_in_any_order_within_the_window() -> None:
    sessions = Sessions()
    for number in (5, 1, 3, WINDOW, 2):
        sessions.apply(number, commit(number))
    assert [reply_of(sessions, number) is None for number in (1, 2, 3, 4, 5)] == [False, False, False, True, False]
    sessions.apply(9, commit(WINDOW + 4))
    assert reply_of(sessions, 5) == b"reply 5"
    with pytest.raises(errors.OutcomeUnknown):
        reply_of(sessions, 4)


def test_a_floor_above_its_own_number_forgets_no_more_than_before_it() -> None:
    """A client may lie about what it has seen answered; the write that carries the lie stays known."""
    sessions = Sessions()
    sessions.apply(1, commit(5, floor=2**60))
    assert reply_of(sessions, 5) == b"reply 5"


@pytest.mark.parametrize("jump", [WINDOW - 1, WINDOW, 10**6, 2**62])
def test_numbers_may_jump(jump: int) -> None:
    sessions = Sessions()
    for number in range(1, 4):
        sessions.apply(number, commit(number))
    sessions.apply(4, commit(3 + jump))
    assert reply_of(sessions, 3 + jump) == b"reply %d" % (3 + jump)
    for number in (1, 2, 3):
        if number < 3 + jump - WINDOW + 1:
            with pytest.raises(errors.OutcomeUnknown):
                reply_of(sessions, number)
        else:
            assert reply_of(sessions, number) == b"reply %d" % number


numbers = st.one_of(st.integers(1, 40), st.integers(WINDOW - 5, 2 * WINDOW + 40), st.integers(1, 2**62))
writes = st.lists(st.tuples(numbers, st.one_of(st.just(1), st.integers(1, 50), numbers)), max_size=40)


@given(writes)
def test_what_a_session_holds_is_bounded_and_known(done: list[tuple[int, int]]) -> None:
    """Against the promise itself: known are the executed numbers not below the floor; never more than the window."""
    session, model, highest, floor = Sessions(), dict[int, int](), 0, 1
    for seq, (number, asked) in enumerate(done, start=1):
        session.apply(seq, commit(number, asked))
        model[number], highest = seq, max(highest, number)
        floor = max(floor, min(asked, number), highest - WINDOW + 1)
    for sessions in (session, reloaded(session)):
        for number, seq in model.items():
            if number >= floor:
                outcome = sessions.outcome(ONE, number, 7)
                assert outcome is not None
                assert outcome.seq == seq
            else:
                with pytest.raises(errors.OutcomeUnknown):
                    sessions.outcome(ONE, number, 7)


def test_pairs_out_of_order_leave_nothing_behind() -> None:
    """A client that sends the far number first and the near one after it, for ever, must not fill the memory."""
    sessions = Sessions()
    session = sessions.begin(ONE, "ada")
    for step in range(1, 3 * WINDOW):
        sessions.apply(2 * step, commit(step + WINDOW))
        sessions.apply(2 * step + 1, commit(step))
    assert len(session.outcomes) <= WINDOW


def test_rows_bring_everything_back() -> None:
    sessions = Sessions()
    for number in (1, 2, 5, 9):
        sessions.apply(number, commit(number, floor=2, time=START + number))
    sessions.apply(10, commit(1, session_id=TWO, principal="bob"))
    again = reloaded(sessions)
    assert len(again) == 2
    assert [reply_of(again, number) for number in (2, 5, 9)] == [b"reply 2", b"reply 5", b"reply 9"]
    assert reply_of(again, 3) is None
    with pytest.raises(errors.OutcomeUnknown):
        reply_of(again, 1)
    with pytest.raises(errors.SessionForeign):
        again.admit(ONE, "bob", START, DAY)
    assert again.idle_since(START + 9, 9) == [TWO]
    again.apply(11, commit(2, floor=2))
    assert reply_of(again, 2) == b"reply 2"


def test_only_what_changed_is_written_and_a_failed_checkpoint_is_due_again() -> None:
    sessions = Sessions()
    sessions.apply(1, commit(1))
    sessions.apply(2, commit(1, session_id=TWO))
    assert len(sessions.checkpoint()) == 2
    assert sessions.checkpoint() == []
    sessions.apply(3, commit(2))
    rows = sessions.checkpoint()
    assert [key for _, _, key, _ in rows] == [INDEX_SESSION + ONE]
    sessions.mark_dirty(rows)
    sessions.apply(4, forgotten(TWO))
    engine = MemoryEngine()
    engine.write([(0, Family.INDEX, INDEX_SESSION + TWO, b"row")], 1)
    engine.write(sessions.checkpoint(), 2)
    assert list(engine.families[Family.INDEX]) == [INDEX_SESSION + ONE]


def test_forgotten_sessions_are_gone() -> None:
    sessions = Sessions()
    sessions.apply(1, commit(1))
    sessions.apply(2, forgotten(ONE, TWO))
    assert len(sessions) == 0
    assert reply_of(sessions, 1) is None
    assert sessions.checkpoint()[0][2] == INDEX_SESSION + ONE
    assert len(reloaded(sessions)) == 0


def test_sessions_without_a_write_for_long_are_found() -> None:
    sessions = Sessions()
    sessions.apply(1, commit(1, time=START))
    sessions.apply(2, commit(1, session_id=TWO, time=START + 10))
    assert sessions.idle_since(START, 9) == []
    assert sessions.idle_since(START + 1, 9) == [ONE]
    assert len(sessions.idle_since(START + 11, 1)) == 1
    sessions.apply(3, commit(2, time=START + 20))
    assert sessions.idle_since(START + 11, 9) == [TWO]


# -- admission ------------------------------------------------------------------------------------------------------


def test_a_new_session_gets_an_id_with_its_time() -> None:
    first, second = (Sessions().admit(b"", "ada", START, DAY) for _ in range(2))
    assert first != second
    assert first[:8] == START.to_bytes(8, "big")
    assert len(first) == limits.SESSION_ID_BYTES


@pytest.mark.parametrize("session_id", [b"x", b"x" * 15, b"x" * 17])
def test_what_is_no_session_id_is_refused(session_id: bytes) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        Sessions().admit(session_id, "ada", START, DAY)
    assert refused.value.field == "session_id"


def test_a_session_belongs_to_its_principal() -> None:
    sessions = Sessions()
    sessions.apply(1, commit(1))
    assert sessions.admit(ONE, "ada", START + 1_000 * DAY, DAY) == ONE
    with pytest.raises(errors.SessionForeign):
        sessions.admit(ONE, "bob", START, DAY)


@pytest.mark.parametrize(
    ("age", "kept"), [(-DAY, True), (-DAY - 1, False), (0, True), (DAY - 1, True), (DAY, False), (30 * DAY, False)]
)
def test_an_unknown_session_goes_on_while_it_cannot_have_been_forgotten(age: int, kept: bool) -> None:
    """Younger than the retention it never had a write; older, it may have had, and its outcomes are gone."""
    assert (Sessions().admit(ONE, "ada", START + age, DAY) == ONE) is kept


# -- together with the rest -----------------------------------------------------------------------------------------


def author(number: int, floor: int = 1) -> Author:
    return Author("ada", ONE, number, floor, number)


@pytest.mark.parametrize("checkpoint", [0, 2, 4, 6], ids="checkpoint after {}".format)
def test_a_retry_after_a_crash_gets_the_first_answer(checkpoint: int) -> None:
    store = Store()
    expected = {}
    for number in range(1, 7):
        request = put("a", number, if_version=number - 1 if number % 3 else 99)
        expected[number] = store.sequence(request, author(number)).commit.reply
        store.apply()
        if number == checkpoint:
            store.checkpoint()
    store.crash()
    for number, reply in expected.items():
        outcome = store.sessions.outcome(ONE, number, number)
        assert outcome is not None
        assert (outcome.seq, outcome.reply) == (number, reply)
    with pytest.raises(errors.VersionConflict):
        answered(expected[3])
    assert plain(store.read(get("a")).value) == 2
    store.check_replay()


def test_a_commit_says_who_asked_for_what() -> None:
    store = Store()
    numbered = store.sequence(put("a", 1), author(3, 2)).commit
    own = store.sequence(put("a", 2)).commit
    asked = (numbered.principal, numbered.operation, numbered.session_id, numbered.number, numbered.floor)
    assert asked == ("ada", table.tag_of(StatePut), ONE, 3, 2)
    assert (own.principal, own.operation, own.session_id, own.number) == ("daemon", 0, b"", 0)


def test_what_was_not_durable_was_never_executed() -> None:
    store = Store()
    store.write(put("a", 1), author(1))
    store.sequence(put("a", 2), author(2))
    store.crash()
    assert store.sessions.outcome(ONE, 2, 2) is None
    assert store.write(put("a", 2, if_version=1), author(2)).version == 2
