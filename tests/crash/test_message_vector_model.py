"""Vectors of messages in the model that judges crash rounds: it explains right answers and objects to wrong ones."""

from __future__ import annotations

import pytest
from msgspec import structs

from bench.crash.dump import differences, expected
from bench.crash.model import Mismatch
from crash.test_model import ONE, N, Pair, dump_of, play, refused, say, settings
from recollectd.protocol import errors
from recollectd.protocol.messages import conversations, search_settings
from recollectd.protocol.messages import vector_spaces as spaces
from recollectd.protocol.messages.connection import Deleted, Done
from recollectd.protocol.messages.fields import Kind


def told(text: str, space: str) -> conversations.ConversationAppend:
    return conversations.ConversationAppend(N, "c", (structs.replace(say(text), vectors={space: ONE}),))


def said(text: str, position: int, time: int) -> conversations.MessagesStored:
    return conversations.MessagesStored("c", (conversations.MessageStored(text, "user", time, position),))


def embed_message(incarnation: int, position: int) -> spaces.SpaceEmbedMessages:
    return spaces.SpaceEmbedMessages(N, "one", (spaces.MessageVector("c", incarnation, position, ONE),))


RIGHT: list[Pair] = [
    (spaces.SpaceCreate(N, "one", 1), Done()),
    (conversations.ConversationCreate(N, "c"), conversations.ConversationCreated("c", 10)),
    (told("a", "no"), refused(errors.NotFound, "messages[0].vectors['no']")),
    (told("a", "one"), said("a", 0, 11)),
    (embed_message(2, 0), spaces.Embedded((True,))),
    (embed_message(2, 1), spaces.Embedded((False,))),
    (embed_message(3, 0), spaces.Embedded((False,))),
    (search_settings.SearchConfigure(N, messages=True), settings("english", messages=True)),
    (spaces.SpaceSwitch(N, "now", "one", 8), spaces.Switched(True)),
    (told("b", "now"), said("b", 1, 12)),
    (spaces.SpaceSwitch(N, "now", "one", 9, messages=True), spaces.Switched(False)),
    (spaces.SpaceSwitch(N, "now", "one", 10, messages=True), spaces.Switched(True)),
    (conversations.ConversationDelete(N, "c"), Deleted(1)),
    (embed_message(2, 0), spaces.Embedded((False,))),
]

WRONG: dict[str, list[Pair]] = {
    "switched although a message has changed": [
        (spaces.SpaceCreate(N, "one", 1), Done()),
        (search_settings.SearchConfigure(N, messages=True), settings("english", messages=True)),
        (conversations.ConversationCreate(N, "c"), conversations.ConversationCreated("c", 10)),
        (told("a", "one"), said("a", 0, 11)),
        (spaces.SpaceSwitch(N, "now", "one", 3, messages=True), spaces.Switched(True)),
    ],
    "a vector given to a message that is not there": [
        (spaces.SpaceCreate(N, "one", 1), Done()),
        (conversations.ConversationCreate(N, "c"), conversations.ConversationCreated("c", 10)),
        (embed_message(2, 0), spaces.Embedded((True,))),
    ],
}


def test_explains() -> None:
    play(RIGHT)


@pytest.mark.parametrize("pairs", WRONG.values(), ids=WRONG)
def test_objects(pairs: list[Pair]) -> None:
    with pytest.raises(Mismatch):
        play(pairs)


def test_a_switch_to_a_space_that_lacks_the_vector_of_a_message_is_noticed() -> None:
    with pytest.raises(AssertionError, match="without a vector"):
        play(
            [
                (spaces.SpaceCreate(N, "one", 1), Done()),
                (search_settings.SearchConfigure(N, messages=True), settings("english", messages=True)),
                (conversations.ConversationCreate(N, "c"), conversations.ConversationCreated("c", 10)),
                (conversations.ConversationAppend(N, "c", (say("a"),)), said("a", 0, 11)),
                (spaces.SpaceSwitch(N, "now", "one", 4, messages=True), spaces.Switched(True)),
            ]
        )


def test_the_vectors_of_messages_are_in_a_dump() -> None:
    pairs = RIGHT[:5]
    model = play(pairs)
    (found,) = expected(model).conversations.values()
    assert found.vectors == (conversations.VectorsOfMessage(0, "a", {"one": ONE}),)
    other = structs.replace(found, vectors=())
    known = {key: structs.replace(space, created_at=5) for key, space in expected(model).spaces.items()}
    good = dump_of(model)._replace(spaces=known)
    bad = good._replace(conversations={(int(Kind.CONVERSATION), N, "c"): other})
    assert not list(differences(expected(model), good))
    assert any("vectors" in text for text in differences(expected(model), bad))
