"""Values are cut and put together again to the byte, and what is known is not stored again; no daemon."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from recollectd.adapters.langgraph.pieces import PIECE_BYTES_MAX, cut
from recollectd.adapters.langgraph.values import INLINE_BYTES_MAX, Known, Plan, Reference

SERDE: Final = JsonPlusSerializer()
TEXT: Final = st.text(max_size=300)
VALUES: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), TEXT, st.binary(max_size=300)),
    lambda inner: st.one_of(st.lists(inner, max_size=40), st.dictionaries(TEXT, inner, max_size=10)),
    max_leaves=60,
)


@given(VALUES)
def test_pieces_are_the_value(value: object) -> None:
    data = msgspec.msgpack.encode(value)
    head, pieces = cut("msgpack", data)
    assert head + b"".join(pieces) == data


@given(st.binary(max_size=5_000))
def test_bytes_that_are_no_msgpack_are_cut_too(data: bytes) -> None:
    for kind in ("msgpack", "pickle"):
        head, pieces = cut(kind, data)
        assert head + b"".join(pieces) == data


def test_no_piece_is_too_large() -> None:
    data = msgspec.msgpack.encode(["x" * (3 * PIECE_BYTES_MAX), {"y": b"z" * PIECE_BYTES_MAX}])
    head, pieces = cut("msgpack", data)
    assert head + b"".join(pieces) == data
    assert max(map(len, pieces)) == PIECE_BYTES_MAX


class Logs:
    """The logs of one namespace, in lists."""

    def __init__(self) -> None:
        self.items: dict[str, list[bytes]] = {}

    def store(self, known: Known, plan: Plan) -> int:
        """Append what a plan says, as the daemon would; return how many bytes."""
        for channel, items in plan.new_items.items():
            log = self.items.setdefault(channel, [])
            assert plan.first[channel] == len(log)
            log += items
        known.settle(plan)
        return sum(len(item) for items in plan.new_items.values() for item in items)

    def read(self, reference: Reference) -> bytes:
        """Return the bytes that a reference stands for."""
        parts = [self.items[channel][first : first + count] for channel, first, count in reference.runs]
        return reference.head + b"".join(item for part in parts for item in part)


@given(st.lists(st.tuples(st.sampled_from("ab"), VALUES), max_size=12))
def test_references_lead_back_to_their_values(changes: list[tuple[str, Any]]) -> None:
    known, logs = Known(), Logs()
    written: list[tuple[Reference, bytes]] = []
    for channel, value in changes:
        plan, data = Plan(known), msgspec.msgpack.encode(value)
        written.append((plan.refer(channel, "msgpack", data), data))
        logs.store(known, plan)
    for reference, data in written:
        assert logs.read(reference) == data


@given(st.lists(st.lists(TEXT, min_size=1, max_size=4), max_size=20))
def test_a_list_that_grows_stays_whole(batches: list[list[str]]) -> None:
    known, logs, messages = Known(), Logs(), list[str]()
    for batch in batches:
        messages += batch
        plan, data = Plan(known), msgspec.msgpack.encode(messages)
        reference = plan.refer("messages", "msgpack", data)
        logs.store(known, plan)
        assert logs.read(reference) == data


def grow(known: Known, logs: Logs, messages: list[Any]) -> tuple[Reference, int]:
    plan = Plan(known)
    reference = plan.refer("messages", *SERDE.dumps_typed(messages))
    return reference, logs.store(known, plan)


def test_a_conversation_grows_by_what_is_new() -> None:
    known, logs, messages = Known(), Logs(), list[Any]()
    for number in range(300):
        messages.append(HumanMessage(f"message {number} " * 10, id=str(number)))
        reference, stored = grow(known, logs, messages)
        assert len(logs.items["messages"]) == number + 1
        assert stored < 600
        assert reference.runs == (("messages", 0, number + 1),)


def test_a_change_in_the_middle_stores_what_changed() -> None:
    known, logs = Known(), Logs()
    messages = [HumanMessage(f"message {number} " * 10, id=str(number)) for number in range(300)]
    grow(known, logs, messages)
    before = len(logs.items["messages"])
    messages[100] = HumanMessage("edited " * 20, id="100")
    del messages[200]
    reference, _ = grow(known, logs, messages)
    assert len(logs.items["messages"]) == before + 1
    assert logs.read(reference) == SERDE.dumps_typed(messages)[1]


def test_what_was_there_before_is_not_stored_again() -> None:
    known, logs = Known(), Logs()
    one, other = [{"text": "a" * 500}], [{"text": "b" * 500}]
    stored = [grow(known, logs, value)[1] for value in (one, other, one, other)]
    assert stored[2:] == [0, 0]


def test_what_another_channel_holds_is_not_stored_again() -> None:
    known, logs = Known(), Logs()
    kind, data = SERDE.dumps_typed(["c" * 500])
    plan = Plan(known)
    first, second = plan.refer("one", kind, data), plan.refer("two", kind, data)
    logs.store(known, plan)
    assert logs.read(first) == logs.read(second) == data
    assert sum(map(len, logs.items.values())) == 1


def test_small_values_need_no_log() -> None:
    plan = Plan(Known())
    assert plan.refer("n", "msgpack", b"x" * INLINE_BYTES_MAX) == Reference("msgpack", b"x" * INLINE_BYTES_MAX)
    assert plan.new_items == {}
