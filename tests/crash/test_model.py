"""The model that judges crash rounds: it explains right answers and objects to wrong ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import Raw, structs

from bench.crash.dump import Dump, HistoryOf, differences, expected
from bench.crash.evidence import check_observations
from bench.crash.model import Mismatch, Model, Played
from bench.crash.sessions import Observation
from recollectd.protocol import errors
from recollectd.protocol.limits import TIME_US_MAX
from recollectd.protocol.messages import conversations, logs, state, transactions
from recollectd.protocol.messages.connection import Deleted, ErrorReply
from recollectd.protocol.messages.fields import Kind, Message, Reply

N = ("n",)
KEY = (int(Kind.STATE), N, "k")
VALUE = Raw(b"\x01")


def put(**more: object) -> state.StatePut:
    return state.StatePut(N, "k", VALUE, **more)  # type: ignore[arg-type]


def stored(version: int, created_at: int, updated_at: int, expires_at: int | None = None) -> state.StateStored:
    return state.StateStored(version, created_at, updated_at, expires_at)


def refused(error: type[errors.RecollectdError], field: str) -> ErrorReply:
    return ErrorReply(error.row.code, "in the daemon's words", field)


def say(text: str) -> conversations.NewMessage:
    return conversations.NewMessage("user", text, text)


Pair = tuple[Message, Reply]

RIGHT: dict[str, list[Pair]] = {
    "versions count over deletions": [
        (put(), stored(1, 10, 10)),
        (put(), stored(2, 10, 11)),
        (state.StateDelete(N, "k"), Deleted(1)),
        (state.StateDelete(N, "k"), Deleted(0)),
        (put(if_absent=True), stored(4, 20, 20)),
        (put(if_version=3), refused(errors.VersionConflict, "if_version")),
    ],
    "an expiry is a version": [
        (put(ttl_us=5), stored(1, 10, 10, 15)),
        (put(if_version=1), refused(errors.VersionConflict, "if_version")),
        (put(if_absent=True), stored(3, 16, 16)),
    ],
    "an expiry that has not come is none": [
        (put(ttl_us=5), stored(1, 10, 10, 15)),
        (put(if_absent=True), refused(errors.VersionConflict, "if_version")),
        (put(), stored(2, 10, 14)),
    ],
    "a log's positions are contiguous": [
        (logs.LogAppend(N, "l", (VALUE, VALUE)), logs.LogAppended(0, 2, 10)),
        (logs.LogPopLast(N, "l", 1), logs.LogPage((logs.LogItem(1, 10, VALUE),), 0, 1, 2)),
        (logs.LogAppend(N, "l", (VALUE,), if_next=1), logs.LogAppended(1, 2, 12)),
        (logs.LogTruncate(N, "l", before=1), logs.LogInfo("l", 1, 2, 10, 13, 4)),
        (logs.LogCopy(N, "l", N, "m"), logs.LogInfo("m", 1, 2, 14, 14, 5)),
        (logs.LogCopy(N, "l", N, "m"), refused(errors.AlreadyExists, "target_id")),
    ],
    "a transaction is all or nothing": [
        (
            transactions.Transaction((), (put(), logs.LogTruncate(N, "none", before=1))),
            refused(errors.NotFound, "operations[1].log_id"),
        ),
        (put(), stored(1, 10, 10)),
    ],
    "guards": [
        (put(), stored(1, 10, 10)),
        (
            transactions.Transaction((transactions.RecordGuard(1, N, "k", 1),), (put(),)),
            transactions.Results((stored(2, 10, 11),)),
        ),
        (
            transactions.Transaction((transactions.RecordGuard(1, N, "k", 1),), (put(),)),
            refused(errors.TransactionConflict, "guards[0]"),
        ),
        (
            transactions.Transaction((transactions.RangeGuard(1, N, 1),), ()),
            refused(errors.TransactionConflict, "guards[0]"),
        ),
    ],
    "a batch is each on its own": [
        (
            transactions.Batch((put(), put(if_version=7), put())),
            transactions.Results(
                (stored(1, 10, 10), refused(errors.VersionConflict, "operations[1].if_version"), stored(2, 10, 10))
            ),
        ),
    ],
    "a message id is taken once": [
        (conversations.ConversationCreate(N, "c"), conversations.ConversationCreated("c", 10)),
        (
            conversations.ConversationAppend(N, "c", (say("a"), say("b"))),
            conversations.MessagesStored(
                "c",
                (
                    conversations.MessageStored("a", "user", 11, 0),
                    conversations.MessageStored("b", "user", 11, 1),
                ),
            ),
        ),
        (
            conversations.ConversationAppend(N, "c", (say("b"),)),
            refused(errors.AlreadyExists, "messages[0].message_id"),
        ),
        (
            conversations.ConversationAppend(N, "c", (say("b"), say("d")), True),
            conversations.MessagesStored(
                "c",
                (
                    conversations.MessageStored("b", "user", 11, 1, True),
                    conversations.MessageStored("d", "user", 12, 2),
                ),
            ),
        ),
    ],
}

WRONG: dict[str, list[Pair]] = {
    "a version left out": [(put(), stored(1, 10, 10)), (put(), stored(3, 10, 11))],
    "done although the guard fails": [(put(), stored(1, 10, 10)), (put(if_absent=True), stored(2, 10, 11))],
    "refused although the guard holds": [(put(if_absent=True), refused(errors.VersionConflict, "if_version"))],
    "time goes back": [(put(), stored(1, 10, 10)), (put(), stored(2, 10, 9))],
    "alive after its expiry": [
        (put(ttl_us=5), stored(1, 10, 10, 15)),
        (logs.LogAppend(N, "l", (VALUE,)), logs.LogAppended(0, 1, 16)),
        (state.StateDelete(N, "k"), Deleted(1)),
        (logs.LogAppend(N, "l", (VALUE,)), logs.LogAppended(1, 2, 17)),
    ],
    "a conflict that is none": [
        (put(), stored(1, 10, 10)),
        (
            transactions.Transaction((transactions.RecordGuard(1, N, "k", 1),), (put(),)),
            refused(errors.TransactionConflict, "guards[0]"),
        ),
    ],
    "write skew": [
        (put(), stored(1, 10, 10)),
        (put(), stored(2, 10, 11)),
        (
            transactions.Transaction((transactions.RecordGuard(1, N, "k", 1),), (put(),)),
            transactions.Results((stored(3, 10, 12),)),
        ),
    ],
    "items twice": [
        (logs.LogAppend(N, "l", (VALUE,)), logs.LogAppended(0, 1, 10)),
        (logs.LogAppend(N, "l", (VALUE,)), logs.LogAppended(2, 3, 11)),
    ],
    "other items popped": [
        (logs.LogAppend(N, "l", (VALUE, VALUE)), logs.LogAppended(0, 2, 10)),
        (logs.LogPopLast(N, "l", 1), logs.LogPage((logs.LogItem(0, 10, VALUE),), 0, 1, 2)),
    ],
}


def play(pairs: Sequence[Pair]) -> Model:
    from bench.crash.model import time_in

    model = Model()
    for seq, (message, reply) in enumerate(pairs, 1):
        later = (time_in(*pair, after) for after, pair in enumerate(pairs[seq:], seq + 1))
        model.play(Played(seq, message, reply), next((time for time in later if time is not None), TIME_US_MAX))
    return model


@pytest.mark.parametrize("pairs", RIGHT.values(), ids=RIGHT)
def test_explains(pairs: list[Pair]) -> None:
    play(pairs)


@pytest.mark.parametrize("pairs", WRONG.values(), ids=WRONG)
def test_objects(pairs: list[Pair]) -> None:
    with pytest.raises(Mismatch):
        play(pairs)


def test_a_position_is_given_once() -> None:
    model = Model()
    model.play(Played(1, put(), stored(1, 10, 10)), TIME_US_MAX)
    with pytest.raises(Mismatch, match="position 1 of the journal was given twice"):
        model.play(Played(1, put(), stored(2, 10, 10)), TIME_US_MAX)


def test_history_is_kept_by_count() -> None:
    model = Model(history_count=2)
    for seq in range(1, 5):
        model.play(Played(seq, put(), stored(seq, 10, 9 + max(seq, 1))), TIME_US_MAX)
    history = expected(model).histories[KEY]
    assert [version.version for version in history.versions] == [4, 3]
    assert history.first_version == 3


def dump_of(model: Model) -> Dump:
    return expected(model)._replace(namespaces=(N,))


def test_a_dump_is_compared_in_every_part() -> None:
    pairs = [*RIGHT["versions count over deletions"], (logs.LogAppend(N, "l", (VALUE,)), logs.LogAppended(0, 1, 21))]
    model = play(pairs)
    good = dump_of(model)
    deleted = good.histories[KEY].versions[1]
    known = structs.replace(deleted, updated_at=15)
    versions = (good.histories[KEY].versions[0], known, *good.histories[KEY].versions[2:])
    good = good._replace(histories={KEY: HistoryOf(versions, 1)})
    assert not list(differences(expected(model), good))
    log_key = (int(Kind.LOG), N, "l")
    other = structs.replace(good.logs[log_key], items=())
    bad = {
        "namespaces": good._replace(namespaces=()),
        "missing": good._replace(states={}),
        "should not exist": good._replace(states={**good.states, (1, N, "more"): good.states[KEY]}),
        "value": good._replace(states={KEY: structs.replace(good.states[KEY], value=Raw(b"\x02"))}),
        "items": good._replace(logs={log_key: other}),
        "versions": good._replace(histories={KEY: HistoryOf(versions[:-1], 1)}),
        "Span": good._replace(
            histories={KEY: HistoryOf((versions[0], structs.replace(known, updated_at=30), *versions[2:]), 1)}
        ),
    }
    for part, dump in bad.items():
        assert any(part in text for text in differences(expected(model), dump)), part


def test_reads_are_judged_by_when_they_were_sent() -> None:
    model = play([(put(), stored(1, 10, 10)), (put(), stored(2, 10, 11)), (state.StateDelete(N, "k"), Deleted(1))])
    get = state.StateGet(N, "k")
    first = state.StateRecord("k", VALUE, 1, 10, 10, None, 1)
    second = state.StateRecord("k", VALUE, 2, 10, 11, None, 2)
    fine = [Observation(get, 0, first), Observation(get, 1, first), Observation(get, 1, state.Absent())]
    assert not check_observations(model, fine)
    outdated = [Observation(get, 2, first), Observation(get, 3, second)]
    invented = [Observation(get, 1, structs.replace(second, value=Raw(b"\x02")))]
    assert len(check_observations(model, outdated)) == 2
    assert len(check_observations(model, invented)) == 1
