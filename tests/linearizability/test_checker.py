"""The checker itself: what it must accept and reject, and that it agrees with trying every order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizability.checker import FOREVER, Operation, check
from linearizability.register import Delete, Get, Put, Register, step

A, B = "a", "b"


def op(request: object, answer: object, called: float, returned: float, key: str = A) -> Operation:
    return Operation(0, key, request, answer, called, returned)


def explained(*history: Operation) -> bool:
    return check(history, step, Register()) is None


GOOD = {
    "nothing": (),
    "one after the other": (
        op(Put("x"), 1, 0, 1),
        op(Get(), (1, "x"), 2, 3),
        op(Delete(), True, 4, 5),
        op(Get(), None, 6, 7),
        op(Put("y"), 3, 8, 9),
    ),
    "a read beside a write sees either": (
        op(Put("x"), 1, 0, 10),
        op(Get(), None, 1, 3),
        op(Get(), (1, "x"), 4, 5),
    ),
    "of two guarded writes one wins": (
        op(Put("x", if_version=0), "conflict", 0, 5),
        op(Put("y", if_version=0), 1, 0, 5),
    ),
    "an unknown write may have happened": (op(Put("x"), None, 0, FOREVER), op(Get(), (1, "x"), 5, 6)),
    "an unknown write may not have happened": (op(Put("x"), None, 0, FOREVER), op(Get(), None, 5, 6)),
    "an unknown write may happen late": (
        op(Put("x"), None, 0, FOREVER),
        op(Get(), None, 5, 6),
        op(Get(), (1, "x"), 7, 8),
    ),
    "keys know nothing of each other": (op(Put("x"), 1, 0, 1), op(Get(), None, 2, 3, B), op(Put("z"), 1, 4, 5, B)),
}

BAD = {
    "a lost write": (op(Put("x"), 1, 0, 1), op(Get(), None, 2, 3)),
    "a write done twice": (op(Put("x"), 1, 0, 1), op(Put("y"), 3, 2, 3)),
    "a read of what nobody wrote": (op(Put("x"), 1, 0, 1), op(Get(), (1, "y"), 2, 3)),
    "a read of the future": (op(Get(), (1, "x"), 0, 1), op(Put("x"), 1, 2, 3)),
    "two winners": (op(Put("x", if_version=0), 1, 0, 5), op(Put("y", if_version=0), 1, 0, 5)),
    "no winner": (op(Put("x", if_version=0), "conflict", 0, 5), op(Get(), None, 6, 7)),
    "new, then old": (
        op(Put("x"), 1, 0, 10),
        op(Get(), (1, "x"), 1, 3),
        op(Get(), None, 4, 5),
    ),
    "an unknown write that comes and goes": (
        op(Put("x"), None, 0, FOREVER),
        op(Get(), (1, "x"), 5, 6),
        op(Get(), None, 7, 8),
    ),
    "a delete that was not": (op(Put("x"), 1, 0, 1), op(Delete(), True, 2, 3), op(Get(), (1, "x"), 4, 5)),
    "on the second key only": (op(Put("x"), 1, 0, 1), op(Put("x"), 1, 0, 1, B), op(Get(), None, 2, 3, B)),
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_accepts(history: Sequence[Operation]) -> None:
    assert explained(*history)


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_rejects(history: Sequence[Operation]) -> None:
    assert not explained(*history)


def test_says_which_key_and_operation() -> None:
    told = check(BAD["on the second key only"], step, Register())
    assert told is not None
    assert told.startswith("b: ")
    assert "Get()" in told


def by_trying_everything(history: Sequence[Operation]) -> bool:
    """Whether some order of some of the unknown operations and all others explains the history."""
    unknown = [operation for operation in history if operation.returned == FOREVER]
    known = [operation for operation in history if operation.returned != FOREVER]
    for mask in range(1 << len(unknown)):
        chosen = known + [operation for index, operation in enumerate(unknown) if mask >> index & 1]
        for order in permutations(chosen):
            if all(
                earlier.called <= later.returned for at, earlier in enumerate(order) for later in order[at + 1 :]
            ) and sequential(order):
                return True
    return False


def sequential(order: Sequence[Operation]) -> bool:
    state: Hashable = Register()
    for operation in order:
        state, answer = step(state, operation.request)
        if operation.returned != FOREVER and answer != operation.answer:
            return False
    return True


requests = st.one_of(
    st.just(Get()),
    st.builds(Put, st.sampled_from("xy"), st.none() | st.integers(0, 2)),
    st.builds(Delete, st.none() | st.integers(0, 2)),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """Histories that are often linearizable: a sequential run, intervals around its answers, then perhaps a change."""
    state: Hashable = Register()
    history: list[Operation] = []
    for moment, request in enumerate(draw(st.lists(requests, max_size=5))):
        state, answer = step(state, request)
        called = moment * 10 - draw(st.integers(0, 25))
        returned = FOREVER if draw(st.integers(0, 5)) == 0 else moment * 10 + 5 + draw(st.integers(0, 25))
        history.append(Operation(0, A, request, answer, called, returned))
    if draw(st.booleans()) and history:
        at = draw(st.integers(0, len(history) - 1))
        other = draw(st.sampled_from([None, "conflict", True, False, 1, 2, (1, "x"), (2, "y")]))
        history[at] = history[at]._replace(answer=other)
    return draw(st.permutations(history))


@settings(max_examples=300, deadline=None)
@given(histories())
def test_agrees_with_trying_every_order(history: list[Operation]) -> None:
    assert explained(*history) == by_trying_everything(history)


def test_many_operations_are_quick() -> None:
    history = [op(Put(str(at)), at + 1, at * 2.0, at * 2.0 + 3) for at in range(500)]
    history += [op(Get(), (at + 1, str(at)), at * 2.0, at * 2.0 + 3) for at in range(500)]
    assert explained(*history)
