"""Numbers, their window, and the position, without I/O."""

from __future__ import annotations

from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd.client.arguments import packed
from recollectd.client.session import Operation, Session, out_of_time
from recollectd.protocol import errors, limits
from recollectd.protocol.frames import FLAG_ASYNC
from recollectd.protocol.messages.connection import ErrorReply, Ping, Pong, Welcome
from recollectd.protocol.messages.fields import Message
from recollectd.protocol.messages.state import Absent, StateGet, StatePut, StateStored

STORED = StateStored(1, 1, 1, None)


def welcome(session_id: bytes = b"i" * 16, store_id: bytes = b"s" * 16, position: int = 0) -> Welcome:
    return Welcome(1, "", store_id, session_id, "", position, {})


def write(key: str = "k") -> Operation:
    return Operation(StatePut(("a",), key, packed(1)), monotonic() + 10)


def read() -> Operation:
    return Operation(StateGet(("a",), "k"), monotonic() + 10)


def opened() -> Session:
    session = Session()
    session.welcome(welcome())
    return session


def admitted(session: Session, operation: Operation) -> Operation:
    assert session.admit(operation)
    return operation


def fields(session: Session, operation: Operation, now: float = 0.0) -> tuple[int, int, int, int, int]:
    return session.header(operation, now)


def test_writes_are_numbered_once_and_reads_are_not() -> None:
    session = opened()
    first, second = admitted(session, write()), admitted(session, write())
    assert (first.number, second.number) == (1, 2)
    assert admitted(session, first).number == 1
    assert admitted(session, read()).number == 0


def test_the_span_reaches_down_to_the_oldest_unanswered_number() -> None:
    session = opened()
    first, second, third = (admitted(session, write()) for _ in range(3))
    assert fields(session, third)[4] == 2
    session.answer(second, 5, STORED)
    assert fields(session, third)[4] == 2
    session.answer(first, 6, STORED)
    assert fields(session, third)[4] == 0
    assert fields(session, admitted(session, write()))[4] == 1


def test_the_window_is_full_until_the_oldest_is_answered() -> None:
    session = opened()
    writes = [admitted(session, write()) for _ in range(limits.CLIENT_NUMBER_SPAN_MAX)]
    late = write()
    assert not session.admit(late)
    session.answer(writes[1], 1, STORED)
    assert not session.admit(late)
    session.answer(writes[0], 1, STORED)
    assert session.admit(late)
    assert session.admit(write())
    assert not session.admit(write())


def test_reads_ask_for_what_the_clients_writes_reached() -> None:
    session = opened()
    operation = admitted(session, write())
    session.answer(operation, 41, STORED)
    assert fields(session, read())[1] == 41
    assert fields(session, admitted(session, write()))[1] == 0
    session.answer(read(), 99, Absent())
    assert session.position == 41, "what a read included is not asked for"
    session.answer(admitted(session, write()), 40, STORED)
    assert session.position == 41


def test_a_deadline_is_what_is_left_within_bounds() -> None:
    session = opened()
    operation = Operation(Ping(), 100.0)
    assert fields(session, operation, 97.5)[2] == 2_500
    assert fields(session, operation, 200.0)[2] == 1
    assert fields(session, operation, -1e9)[2] == limits.DEADLINE_MS_MAX


def test_asynchronous_writes_say_so_and_reads_do_not() -> None:
    session = opened()
    operation = Operation(StatePut(("a",), "k", packed(1)), 1.0, durable=False)
    assert fields(session, admitted(session, operation))[3] == FLAG_ASYNC
    assert fields(session, Operation(Ping(), 1.0, durable=False))[3] == 0


@pytest.mark.parametrize("code", [300, 302, 304])
def test_refusals_for_now_leave_the_write_unanswered(code: int) -> None:
    session = opened()
    operation = admitted(session, write())
    refusal = session.answer(operation, 0, ErrorReply(code, "later", "", 30))
    assert refusal is not None
    assert refusal.code == code
    assert not operation.done
    assert fields(session, admitted(session, write()))[4] == 1


def test_other_errors_are_the_outcome() -> None:
    session = opened()
    operation = admitted(session, write())
    assert session.answer(operation, 0, ErrorReply(202, "at version 3", "if_version")) is None
    assert isinstance(operation.error, errors.VersionConflict)
    assert fields(session, admitted(session, write()))[4] == 0


@pytest.mark.parametrize("code", [301, 303])
def test_nothing_executed_now_is_no_answer_about_an_earlier_attempt(code: int) -> None:
    session = opened()
    operation = admitted(session, write())
    operation.in_doubt = True
    assert session.answer(operation, 0, ErrorReply(code, "nothing was executed")) is None
    assert isinstance(operation.error, errors.RequestTimeout)
    assert isinstance(operation.error.__cause__, errors.CapacityError)


def test_a_reply_of_another_request_is_an_error() -> None:
    operation = read()
    opened().answer(operation, 0, Pong(1))
    assert isinstance(operation.error, errors.InvalidMessage)


def test_an_abandoned_number_holds_nothing_up() -> None:
    session = opened()
    first, second = admitted(session, write()), admitted(session, write())
    session.abandon(first)
    assert fields(session, second)[4] == 0


def test_another_session_begins_anew() -> None:
    session = opened()
    sent, unsent = admitted(session, write("sent")), admitted(session, write("unsent"))
    sent.in_doubt = True
    session.welcome(welcome(b"j" * 16))
    with pytest.raises(errors.OutcomeUnknown):
        session.admit(sent)
    assert session.admit(unsent)
    assert unsent.number == 1
    session.abandon(sent)
    assert fields(session, admitted(session, write()))[4] == 1, "a number of the old session frees none of the new"


def test_the_same_session_goes_on() -> None:
    session = opened()
    operation = admitted(session, write())
    operation.in_doubt = True
    session.welcome(welcome())
    assert admitted(session, operation).number == 1
    assert session.hello("n").session_id == b"i" * 16


def test_positions_of_another_store_say_nothing() -> None:
    session = opened()
    session.answer(admitted(session, write()), 41, STORED)
    session.welcome(welcome())
    assert session.position == 41
    session.welcome(welcome(store_id=b"t" * 16))
    assert session.position == 0


def test_what_is_too_large_for_a_frame_is_refused() -> None:
    value = packed(b"x" * 8_000_000)
    from recollectd.protocol.messages.logs import LogAppend

    with pytest.raises(errors.TooLarge):
        Operation(LogAppend(("a",), "log", (value,) * 5), 0.0)


@pytest.mark.parametrize(
    ("request_", "in_doubt", "failure", "told"),
    [
        (StatePut(("a",), "k", packed(1)), True, errors.ConnectionLost(), errors.RequestTimeout),
        (StatePut(("a",), "k", packed(1)), True, None, errors.RequestTimeout),
        (StatePut(("a",), "k", packed(1)), False, errors.Busy(), errors.Busy),
        (StateGet(("a",), "k"), True, errors.ConnectionLost(), errors.ConnectionLost),
        (StateGet(("a",), "k"), False, None, errors.RequestTimeout),
    ],
)
def test_what_a_caller_is_told_whose_time_is_up(
    request_: Message, in_doubt: bool, failure: errors.RecollectdError | None, told: type[Exception]
) -> None:
    operation = Operation(request_, 0.0)
    operation.in_doubt = in_doubt
    error = out_of_time(operation, failure)
    assert type(error) is told
    assert error is failure or error.__cause__ is failure


@given(st.lists(st.tuples(st.sampled_from(["write", "answer", "abandon", "refuse"]), st.integers(0, 2**30))))
def test_no_frame_ever_says_that_an_unanswered_number_is_answered(steps: list[tuple[str, int]]) -> None:
    session = opened()
    unanswered: dict[int, Operation] = {}
    for step, choice in steps:
        if step == "write":
            operation = write()
            if session.admit(operation):
                unanswered[operation.number] = operation
        elif unanswered:
            operation = list(unanswered.values())[choice % len(unanswered)]
            if step == "answer":
                session.answer(operation, choice, STORED)
                del unanswered[operation.number]
            elif step == "abandon":
                session.abandon(operation)
                del unanswered[operation.number]
            else:
                session.answer(operation, 0, ErrorReply(300, "busy"))
        for number, operation in unanswered.items():
            span = fields(session, operation)[4]
            assert 0 <= span <= limits.CLIENT_NUMBER_SPAN_MAX
            assert number - span == min(unanswered)
