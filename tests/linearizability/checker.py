"""Whether a concurrent history could have happened one operation at a time (Wing & Gong, with Lowe's memoisation).

Each key is checked on its own: a history is linearizable if and only if it is for every key (Herlihy & Wing). Within
a key the search looks for an order of operations that respects real time (what returned before another was called
comes first) and in which a sequential register gives every answer that was observed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final, NamedTuple

FOREVER: Final = float("inf")


class Operation(NamedTuple):
    """One operation of a history.

    called, returned: moments of one clock; FOREVER for an operation whose outcome nobody learnt: it may take effect at
    any time after its call, or never. answer is then ignored.
    """

    client: int
    key: str
    request: Any
    answer: Any
    called: float
    returned: float


State = Hashable
# Gives the state after a request and the answer it has; the state before must not be changed.
Step = Callable[[State, Any], tuple[State, Any]]


def check(history: Iterable[Operation], step: Step, initial: State) -> str | None:
    """Return None for a linearizable history, else the first key that is not and where the search got stuck."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    for key, operations in sorted(by_key.items()):
        stuck = _check_key(operations, step, initial)
        if stuck is not None:
            return f"{key}: {stuck}"
    return None


class _Event:
    """A call or a return in a doubly linked list in the order of time."""

    __slots__ = ("after", "before", "index", "partner")

    def __init__(self, index: int) -> None:
        self.index = index
        self.before: _Event | None = None
        self.after: _Event | None = None
        self.partner: _Event | None = None  # a call's return; a return has none

    def lift(self) -> None:
        """Take a call and its return out of the list."""
        for event in (self, self.partner):
            assert event is not None
            assert event.before is not None
            event.before.after = event.after
            if event.after is not None:
                event.after.before = event.before

    def unlift(self) -> None:
        """Put them back where they were; in the reverse order of `lift`."""
        for event in (self.partner, self):
            assert event is not None
            assert event.before is not None
            event.before.after = event
            if event.after is not None:
                event.after.before = event


def _events(operations: Sequence[Operation]) -> _Event:
    """Return the head of the list: an event that is neither call nor return."""
    moments: list[tuple[float, int, int]] = []
    for index, operation in enumerate(operations):
        # At the same moment calls come before returns: operations that touch are concurrent.
        moments += ((operation.called, 0, index), (operation.returned, 1, index))
    head = last = _Event(-1)
    calls: dict[int, _Event] = {}
    for _, is_return, index in sorted(moments):
        event = _Event(index)
        if is_return:
            calls[index].partner = event
        else:
            calls[index] = event
        last.after, event.before = event, last
        last = event
    return head


def _check_key(operations: Sequence[Operation], step: Step, initial: State) -> str | None:
    must_return = sum(operation.returned != FOREVER for operation in operations)
    head = _events(operations)
    state, done, returned = initial, 0, 0
    seen: set[tuple[int, State]] = set()
    path: list[tuple[_Event, State]] = []
    furthest: list[int] = []
    event = head.after
    while returned < must_return:
        if event is not None and event.partner is not None:
            operation = operations[event.index]
            after, answer = step(state, operation.request)
            known = operation.returned != FOREVER
            configuration = (done | 1 << event.index, after)
            if (not known or answer == operation.answer) and configuration not in seen:
                seen.add(configuration)
                path.append((event, state))
                state, done, returned = after, configuration[0], returned + known
                event.lift()
                event = head.after
                continue
            event = event.after
            continue
        # A return of an operation that is not in the order yet, or the end: the last choice was wrong.
        if len(path) > len(furthest):
            furthest = [chosen.index for chosen, _ in path]
        if not path:
            return _explain(operations, furthest)
        event, state = path.pop()
        done &= ~(1 << event.index)
        returned -= operations[event.index].returned != FOREVER
        event.unlift()
        event = event.after
    return None


def _explain(operations: Sequence[Operation], order: Sequence[int]) -> str:
    left = [operation for index, operation in enumerate(operations) if index not in set(order)]
    left.sort(key=lambda operation: operation.returned)
    last = [operations[index] for index in order[-3:]]
    return f"no order explains {left[0]}; {len(order)} of {len(operations)} could be put in order, the last {last}"
