"""The model that judges crash rounds: it explains right answers and objects to wrong ones."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import pytest
from msgspec import Raw, structs

from bench.crash import arms
from bench.crash.dump import Dump, HistoryOf, differences, expected, later
from bench.crash.evidence import check_observations
from bench.crash.memory_workload import WORDS
from bench.crash.model import Mismatch, Model, Played
from bench.crash.sessions import Observation
from recollectd.protocol import errors
from recollectd.protocol.limits import TIME_US_MAX
from recollectd.protocol.messages import conversations, logs, memories, search_settings, state, transactions
from recollectd.protocol.messages import vector_spaces as spaces
from recollectd.protocol.messages.connection import Deleted, Done, ErrorReply
from recollectd.protocol.messages.fields import Kind, Message, Reply

N = ("n",)
KEY = (int(Kind.STATE), N, "k")
VALUE = Raw(b"\x01")
ONE = struct.pack("<f", 1.0)


def put(**more: object) -> state.StatePut:
    return state.StatePut(N, "k", VALUE, **more)  # type: ignore[arg-type]


def stored(version: int, created_at: int, updated_at: int, expires_at: int | None = None) -> state.StateStored:
    return state.StateStored(version, created_at, updated_at, expires_at)


def refused(error: type[errors.RecollectdError], field: str) -> ErrorReply:
    return ErrorReply(error.row.code, "in the daemon's words", field)


def say(text: str) -> conversations.NewMessage:
    return conversations.NewMessage("user", text, text)


def remember(memory_id: str, vectors: dict[str, bytes] | None = None) -> memories.MemoryAdd:
    return memories.MemoryAdd(N, (memories.NewMemory("text", memory_id, vectors=vectors),))


def remembered(memory_id: str, time: int) -> memories.MemoriesStored:
    return memories.MemoriesStored((memories.MemoryStored(memory_id, 1, time, time),))


def embed(space: str, version: int) -> spaces.SpaceEmbed:
    return spaces.SpaceEmbed(N, space, (spaces.MemoryVector("a", version, ONE),))


def settings(language: str, *, messages: bool = False, indexing: bool = False) -> search_settings.SearchSettings:
    return search_settings.SearchSettings(language, True, True, messages, indexing)


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
    "no two memories take each other's place": [
        (remember("a"), remembered("a", 10)),
        (remember("b"), remembered("b", 11)),
        (memories.MemorySupersede(N, "a", "b"), memories.MemoryMarked(1, None, 12)),
        (memories.MemorySupersede(N, "b", "a"), refused(errors.InvalidArgument, "superseded_by")),
        (memories.MemoryDelete(N, "a"), Deleted(1)),
        (memories.MemorySupersede(N, "b", "a"), refused(errors.NotFound, "superseded_by")),
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
    "vectors given later, and a name switched when none is lacking": [
        (spaces.SpaceCreate(N, "one", 1), Done()),
        (remember("a", {"one": ONE}), remembered("a", 10)),
        (spaces.SpaceCreate(N, "two", 1), Done()),
        (embed("two", 2), spaces.Embedded((False,))),
        (embed("two", 1), spaces.Embedded((True,))),
        (spaces.SpaceSwitch(N, "now", "two", 4), spaces.Switched(False)),
        (spaces.SpaceSwitch(N, "now", "two", 5), spaces.Switched(True)),
        (embed("now", 1), spaces.Embedded((True,))),
        (spaces.SpaceDrop(N, "two"), Deleted(1)),
        (embed("now", 1), refused(errors.NotFound, "space")),
        (spaces.SpaceSwitch(N, "now", "one", 5), spaces.Switched(True)),
    ],
    "how a namespace is searched": [
        (search_settings.SearchConfigure(N, language="german"), settings("german", indexing=True)),
        (search_settings.SearchConfigure(N, messages=True), settings("german", messages=True)),
    ],
}

WRONG: dict[str, list[Pair]] = {
    "switched although a memory has changed": [
        (spaces.SpaceCreate(N, "one", 1), Done()),
        (remember("a", {"one": ONE}), remembered("a", 10)),
        (spaces.SpaceSwitch(N, "now", "one", 1), spaces.Switched(True)),
    ],
    "switched to a space made since": [
        (remember("a"), remembered("a", 10)),
        (spaces.SpaceCreate(N, "one", 1), Done()),
        (spaces.SpaceSwitch(N, "now", "one", 1), spaces.Switched(True)),
    ],
    "a vector given to what has moved on": [
        (spaces.SpaceCreate(N, "two", 1), Done()),
        (remember("a"), remembered("a", 10)),
        (embed("two", 2), spaces.Embedded((True,))),
    ],
    "settings forgotten": [
        (search_settings.SearchConfigure(N, language="german"), settings("german")),
        (search_settings.SearchConfigure(N, messages=True), settings("english", messages=True)),
    ],
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
    "memories that took each other's place": [
        (remember("a"), remembered("a", 10)),
        (remember("b"), remembered("b", 11)),
        (memories.MemorySupersede(N, "a", "b"), memories.MemoryMarked(1, None, 12)),
        (memories.MemorySupersede(N, "b", "a"), memories.MemoryMarked(1, None, 13)),
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


def test_reads_of_memories_are_judged_too() -> None:
    model = play([(remember("a"), remembered("a", 10)), (memories.MemoryDelete(N, "a"), Deleted(1))])
    get = memories.MemoryGet(N, ("a",))
    there = memories.Memory("a", "text", 1, 10, 10, 1)
    gone = memories.Memories((None,))
    fine = [Observation(get, 1, memories.Memories((there,))), Observation(get, 1, gone), Observation(get, 2, gone)]
    assert not check_observations(model, fine)
    outdated = Observation(get, 2, memories.Memories((there,)))
    invented = Observation(get, 1, memories.Memories((structs.replace(there, text="other"),)))
    assert len(check_observations(model, [outdated, invented])) == 2


def test_accesses_count_where_that_is_set_and_are_never_lost() -> None:
    known = [(remember("a"), remembered("a", 10))]
    counting = search_settings.SearchSettings("english", True, True, False, False, True)
    counted = play([*known, (search_settings.SearchConfigure(N, accesses=True), counting)])
    key = (int(Kind.MEMORY), N, "a")

    def found(model: Model, count: int, last: int | None) -> Dump:
        memory = dump_of(play(known)).memories[key]
        memory = structs.replace(memory, access_count=count, last_accessed=last)
        return dump_of(model)._replace(memories={key: memory})

    assert list(differences(expected(play(known)), found(play(known), 1, 20)))
    assert not list(differences(expected(counted), found(counted, 0, None)))
    seen = found(counted, 2, 20)
    assert not list(differences(expected(counted), seen))
    assert list(differences(expected(counted), found(counted, 2, 5)))
    assert not list(differences(later(seen, counted), found(counted, 3, 21)))
    for count, last in ((1, 20), (2, 19), (0, None)):
        assert list(differences(later(seen, counted), found(counted, count, last)))


def test_a_switch_to_a_space_that_lacks_a_vector_is_noticed() -> None:
    with pytest.raises(AssertionError, match="without a vector"):
        play(
            [
                (remember("a"), remembered("a", 10)),
                (spaces.SpaceCreate(N, "one", 1), Done()),
                (spaces.SpaceSwitch(N, "now", "one", 2), spaces.Switched(True)),
            ]
        )


def test_what_arms_find_is_held_against_the_records() -> None:
    space = spaces.Space("one", 2, "cosine", "f32", "", 1)
    alias = spaces.Space("now", 1, "", "", "", 1, "one")
    vector = struct.pack("<2f", 1.0, 0.0)
    held = arms.Held(
        N,
        [memories.Memory("m", "zebras pianos", 1, 1, 1, 1, vectors={"one": vector})],
        {"c": [conversations.Message("i", "user", "copper", 10, 0), conversations.Message("j", "user", "x", 11, 1)]},
        {("c", 1): {"one": vector, "gone": vector}},
        {"one": space, "now": alias},
        True,
    )
    nothing: dict[str, arms.Scores] = {
        f"{word} among {what}": {} for word in WORDS for what in ("memories", "messages")
    }
    right = {
        **nothing,
        "zebras among memories": {"m": 1.0},
        "pianos among memories": {"m": 1.0},
        "copper among messages": {"c\x000": 2.0, "c\x001": 1.0},
        "vectors of one": {"m": math.sqrt(0.5)},
        "vectors of now": {"m": math.sqrt(0.5)},
        "vectors of one among messages": {"c\x001": math.sqrt(0.5)},
        "vectors of now among messages": {"c\x001": math.sqrt(0.5)},
    }
    assert not arms.check(held, right)
    for search, wrong in (
        ("zebras among memories", {}),
        ("violet among memories", {"m": 1.0}),
        ("copper among messages", {"c\x000": 2.0}),
        ("vectors of one", {}),
        ("vectors of now", {"m": 0.5}),
        ("vectors of one among messages", {}),
        ("vectors of one among messages", {"c\x000": math.sqrt(0.5), "c\x001": math.sqrt(0.5)}),
        ("vectors of now among messages", {"c\x001": 0.5}),
    ):
        assert len(arms.check(held, {**right, search: dict(wrong)})) == 1, search
        assert len(arms.differences(right, {**right, search: dict(wrong)})) == 1, search
    assert not arms.differences(right, right)
