"""Transactions are all or nothing and serializable; of a batch each operation stands alone."""

from __future__ import annotations

from typing import Any

import pytest

from memory.asking import (
    NS,
    append,
    batch,
    chat,
    configure,
    count,
    create,
    delete,
    get,
    guard,
    log_read,
    message,
    plain,
    put,
    put_many,
    say,
    scan,
    touch,
    transaction,
)
from memory.harness import SECOND, START, Store
from recollectd.memory import sequencer
from recollectd.memory.sequencer import Ranges
from recollectd.memory.state.sweeps import Expire
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import conversations, logs, transactions
from recollectd.protocol.messages.connection import ErrorReply
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import Family, kind_prefix


@pytest.fixture
def store() -> Store:
    return Store()


def range_guard(position: int, kind: Kind = Kind.STATE, ns: tuple[str, ...] = NS, **fields: Any) -> Any:
    return transactions.RangeGuard(int(kind), ns, position, **fields)


def test_operations_of_all_kinds_in_one_commit(store: Store) -> None:
    store.write(put("old", 1))
    store.write(append("l", "a", "b"))
    results = store.write(
        transaction(
            put("a", 1),
            put("a", 2, if_version=1),
            delete("old"),
            touch("a", SECOND),
            put_many({"x": 1, "y": 2}),
            append("l", "c", if_next=2),
            logs.LogTruncate(NS, "l", 1),
            create("c"),
            say("c", message("Hello", "m")),
            configure(3),
        )
    ).results
    assert [type(result).__name__ for result in results] == [
        "StateStored",
        "StateStored",
        "Deleted",
        "StateTouched",
        "StateStoredMany",
        "LogAppended",
        "LogInfo",
        "ConversationCreated",
        "MessagesStored",
        "Done",
    ]
    assert len(store.journal) == 3
    assert store.read(get("a")).version == 2
    assert [plain(item.value) for item in store.read(log_read("l")).items] == ["b", "c"]
    assert [each.content for each in store.read(chat("c")).messages] == ["Hello"]
    store.check_replay()


SAID_BEFORE = say("c", message("x", "unused"), message("y", "known"))
REFUSED: list[tuple[Any, type[errors.RecollectdError], str]] = [
    (put("a", 2, if_version=7), errors.VersionConflict, "operations[4].if_version"),
    (touch("never", 1), errors.NotFound, "operations[4].key"),
    (append("l", "x", if_next=7), errors.VersionConflict, "operations[4].if_next"),
    (logs.LogTruncate(NS, "never", 1), errors.NotFound, "operations[4].log_id"),
    (create("c"), errors.AlreadyExists, "operations[4].conversation_id"),
    (say("never", "x"), errors.NotFound, "operations[4].conversation_id"),
    (
        say("c", message("x", "unused"), message("y", "known")),
        errors.AlreadyExists,
        "operations[4].messages[1].message_id",
    ),
]
EARLIER = (put("a", 1), append("l", "x"), create("new"), say("c", message("z", "mine")))


@pytest.mark.parametrize(("operation", "error", "field"), REFUSED)
def test_one_refusal_refuses_all_and_names_the_operation(
    store: Store, operation: Any, error: type[errors.RecollectdError], field: str
) -> None:
    store.write(create("c"))
    store.write(say("c", message("x", "known")))
    rows = store.engine.copy().families
    with pytest.raises(error) as refused:
        store.write(transaction(*EARLIER, operation, put("b", 1)))
    assert refused.value.field == field
    rows[Family.META] = store.engine.families[Family.META]
    assert store.engine.families == rows
    assert store.facts.pending_count == 0
    assert store.write(transaction(*EARLIER)).results[0].version == 1, "nothing of it is remembered either"
    store.check_replay()


@pytest.mark.parametrize(("operation", "error", "field"), REFUSED)
def test_in_a_batch_a_refused_operation_leaves_the_others(
    store: Store, operation: Any, error: type[errors.RecollectdError], field: str
) -> None:
    store.write(create("c"))
    store.write(say("c", message("x", "known")))
    results = store.write(batch(*EARLIER, operation, put("b", 1))).results
    assert [isinstance(result, ErrorReply) for result in results] == [False] * 4 + [True, False]
    assert (results[4].code, results[4].field) == (error.row.code, field)
    assert store.read(get("a")).version == store.read(get("b")).version == 1
    assert [each.content for each in store.read(chat("c")).messages] == ["x", "z"]
    assert store.write(say("c", message("y", "unused"))).messages[0].position == 2
    store.check_replay()


@pytest.mark.parametrize("make", [transaction, batch])
@pytest.mark.parametrize(
    ("operation", "error", "field"),
    [
        (put(""), errors.InvalidArgument, "operations[1].key"),
        (put("a", ns=("acme", "")), errors.InvalidArgument, "operations[1].namespace[1]"),
        (put_many({"a": 1, "": 1}), errors.InvalidArgument, "operations[1].items[1].key"),
        (append("l"), errors.InvalidArgument, "operations[1].items"),
        (say("c", "x" * (limits.CONTENT_BYTES_MAX + 1)), errors.InvalidArgument, "operations[1].messages[0].content"),
        (put("a", b"x" * limits.VALUE_BYTES_MAX), errors.TooLarge, "operations[1].value"),
        (put("a", ns=("other",)), errors.CrossShard, "namespace"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(
    store: Store, make: Any, operation: Any, error: type[errors.RecollectdError], field: str
) -> None:
    with pytest.raises(error) as refused:
        store.write(make(put("a", 1), operation))
    assert refused.value.field == field
    assert store.engine.count(Family.HEADS) == 0


@pytest.mark.parametrize(
    ("guards", "error", "field"),
    [
        ([guard(Kind.SETTINGS, "a", 0)], errors.InvalidArgument, "guards[0].kind"),
        ([transactions.RangeGuard(7, NS, 0)], errors.InvalidArgument, "guards[0].kind"),
        ([guard(Kind.STATE, "a", 0), guard(Kind.STATE, "", 0)], errors.InvalidArgument, "guards[1].key"),
        ([guard(Kind.STATE, "a", 0, ns=("acme", ""))], errors.InvalidArgument, "guards[0].namespace[1]"),
        ([range_guard(0, ns=())], errors.InvalidArgument, "guards[0].namespace"),
        ([range_guard(0, ns=("acme", "x" * 129))], errors.InvalidArgument, "guards[0].namespace[1]"),
        ([guard(Kind.STATE, "a", 0, ns=("other",))], errors.CrossShard, "namespace"),
        ([guard(Kind.STATE, "a", 1)], errors.TransactionConflict, "guards[0]"),
        ([guard(Kind.STATE, "a", 0), guard(Kind.LOG, "a", 1)], errors.TransactionConflict, "guards[1]"),
    ],
)
def test_guards_are_refused_by_name(store: Store, guards: Any, error: type[errors.RecollectdError], field: str) -> None:
    with pytest.raises(error) as refused:
        store.write(transaction(put("a", 1), guards=guards))
    assert refused.value.field == field
    assert store.engine.count(Family.HEADS) == 0


def test_too_many_operations_or_guards(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OPERATIONS_PER_FRAME_MAX", 3)
    for request, field in (
        (transaction(*[put("a")] * 4), "operations"),
        (batch(*[put("a")] * 4), "operations"),
        (transaction(guards=[guard(Kind.STATE, "a", 0)] * 4), "guards"),
    ):
        with pytest.raises(errors.InvalidArgument) as refused:
            store.write(request)
        assert refused.value.field == field


def test_a_commit_over_the_limit_is_refused_and_leaves_nothing(store: Store) -> None:
    largest = b"x" * (limits.VALUE_BYTES_MAX - 8)
    with pytest.raises(errors.TooLarge, match="one commit"):
        store.write(transaction(*(put(key, largest) for key in "abc"), append("l", "x" * 100)))
    assert (store.sequencer.last_seq, store.facts.pending_count) == (0, 0)
    assert store.write(put("a", 1)).version == 1


# -- serializable ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "sequenced only"])
def test_write_skew(store: Store, applied: bool) -> None:
    """Two on duty; each may leave if the other stays. Both read both, and leave."""
    first = store.write(put("ada", "on duty")).version
    store.write(put("bob", "on duty"))
    revisions = {key: store.read(get(key)).revision for key in ("ada", "bob")}
    guards = [guard(Kind.STATE, key, revision) for key, revision in revisions.items()]
    assert store.sequence(transaction(put("ada", "off"), guards=guards)).commit.events
    if applied:
        store.apply()
    assert not store.sequence(transaction(put("bob", "off"), guards=guards)).commit.events
    store.apply()
    assert first == 1
    assert plain(store.read(get("bob")).value) == "on duty"


CHANGES: dict[Kind, list[Any]] = {
    Kind.STATE: [put("new", 1), put("a", 2), delete("a"), touch("a", 5), put_many({"x": 1})],
    Kind.LOG: [append("new", 1), append("a", 2), logs.LogDelete(NS, "a"), logs.LogTruncate(NS, "a", 1)],
    Kind.CONVERSATION: [create("new"), say("a", "x"), conversations.ConversationDelete(NS, "a")],
}


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "sequenced only"])
@pytest.mark.parametrize(
    ("kind", "change"), [(kind, change) for kind, changes in CHANGES.items() for change in changes]
)
def test_phantoms(store: Store, kind: Kind, change: Any, applied: bool) -> None:
    """Whatever changes in the range that was read, by whatever operation, the reader's transaction fails."""
    for request in (put("a", 1), append("a", 1, 2), create("a")):
        store.write(request)
    position = store.position
    sequenced = store.sequence(change)
    if applied:
        store.apply()
    assert sequenced.commit.events
    for other in CHANGES:
        reader = store.sequence(transaction(put("a", 1, ns=("acme", "result")), guards=[range_guard(position, other)]))
        assert bool(reader.commit.events) is (other is not kind)
    neighbours = [("acme",), ("acme", "agent", "below"), ("acme", "agent-7")]
    guards = [range_guard(position, kind, ns) for ns in neighbours]
    assert store.sequence(transaction(put("b", 1, ns=("acme", "quiet")), guards=guards)).commit.events
    store.apply()
    assert store.write(transaction(guards=[range_guard(store.position, kind)])).results == ()


def test_a_transactions_own_writes_do_not_break_its_guards(store: Store) -> None:
    position = store.position
    guards = [range_guard(position), guard(Kind.STATE, "a", 0)]
    store.write(transaction(put("a", 1), put("b", 2), guards=guards))
    with pytest.raises(errors.TransactionConflict):
        store.write(transaction(put("a", 1), guards=guards))


@pytest.mark.parametrize("read", [scan(), count()], ids=["scan", "count"])
def test_what_expires_in_the_range_breaks_it(store: Store, read: Any) -> None:
    """Before its event, by the time that the read was told; after it, by the event."""
    store.write(put("a", 1, ttl_us=10))
    guards = [range_guard(store.position, valid_until=store.read(read).valid_until)]
    store.now = START + 9
    assert store.write(transaction(guards=guards)).results == ()
    store.now = START + 10
    with pytest.raises(errors.TransactionConflict) as refused:
        store.write(transaction(guards=guards))
    assert refused.value.field == "guards[0]"
    guards = [range_guard(store.position)]
    store.run(Expire())
    with pytest.raises(errors.TransactionConflict):
        store.write(transaction(guards=guards))


@pytest.mark.parametrize("kind", list(CHANGES))
def test_a_guard_tells_two_lives_of_a_record_apart(store: Store, kind: Kind) -> None:
    make: dict[Kind, tuple[Any, Any, Any]] = {
        Kind.STATE: (put("a", 1), delete("a"), get("a")),
        Kind.LOG: (append("a", 1), logs.LogDelete(NS, "a"), logs.LogHead(NS, "a")),
        Kind.CONVERSATION: (
            create("a"),
            conversations.ConversationDelete(NS, "a"),
            conversations.ConversationHead(NS, "a"),
        ),
    }
    born, gone, read = make[kind]
    assert store.write(transaction(guards=[guard(kind, "a", 0)])).results == ()
    store.write(born)
    revision = store.read(read).revision
    assert store.write(transaction(guards=[guard(kind, "a", revision)])).results == ()
    store.write(gone)
    assert store.write(transaction(guards=[guard(kind, "a", 0)])).results == ()
    store.write(born)
    for stale in (0, revision):
        with pytest.raises(errors.TransactionConflict):
            store.write(transaction(guards=[guard(kind, "a", stale)]))
    assert store.write(transaction(guards=[guard(kind, "a", store.read(read).revision)])).results == ()


@pytest.mark.parametrize("labels", [1, 2])
def test_shards_are_the_first_labels(labels: int) -> None:
    store = Store(shard_labels=labels)
    one, two, short = ("a", "b", "c"), ("a", "x", "c"), ("a",)
    pairs = {(one, ("a", "b")): True, (one, two): labels == 1, (one, short): labels == 1, (one, ("b", "b")): False}
    for (first, second), allowed in pairs.items():
        for request in (
            transaction(put("k", 1, first), put("k", 1, second)),
            transaction(put("k", 1, first), guards=[guard(Kind.LOG, "never", 0, second)]),
            transaction(put("k", 1, first), guards=[range_guard(store.position, Kind.LOG, second)]),
            batch(put("k", 1, first), delete("never", second)),
        ):
            if allowed:
                store.write(request)
            else:
                with pytest.raises(errors.CrossShard):
                    store.write(request)
    assert store.write(transaction()).results == store.write(batch()).results == ()


def test_guards_may_fail_without_need_but_never_hold_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of ranges is bounded; when full, everything counts as changed just now."""
    monkeypatch.setattr(sequencer, "_RANGES_MAX", 5)
    ranges = Ranges(10)
    prefixes = [kind_prefix(Kind.STATE, ("acme", str(index))) for index in range(7)]
    last: dict[bytes, int] = dict.fromkeys(prefixes, 0)
    for seq in range(11, 200):
        prefix = prefixes[seq * 3 % 7]
        ranges.note(prefix + b"key", seq)
        last[prefix] = seq
        assert all(ranges.changed_at(each) >= last[each] for each in prefixes)
        assert all(ranges.changed_at(each) <= seq for each in prefixes)
    assert ranges.changed_at(kind_prefix(Kind.LOG, NS)) >= 10


def test_after_a_restart_what_was_read_before_holds_only_at_the_journals_end(store: Store) -> None:
    store.write(put("a", 1))
    early = store.position
    store.write(put("b", 1, ns=("acme", "elsewhere")))
    store.crash()
    with pytest.raises(errors.TransactionConflict):
        store.write(transaction(guards=[range_guard(early)]))
    assert store.write(transaction(guards=[range_guard(store.position)])).results == ()
