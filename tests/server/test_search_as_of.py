"""Searches as of a time, and contexts that tell nothing that the search may not tell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recollectd.client import Client, NewMessage
from recollectd.protocol import errors
from recollectd.testing import Daemon

DAY = 86_400.0
MONDAY = 1_700_000_000.0
PAST = "0001-01-01T00:00:00Z"
FUTURE = "9999-12-31T23:59:59Z"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as running:
        yield running


@pytest.fixture
def client(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Client]:
    with daemon.client() as made:
        yield made.with_namespace("as of", request.node.name)


def found(client: Client, **told: object) -> list[str]:
    return sorted(hit.memory.memory_id for hit in client.memories.search("tea", **told).hits)  # type: ignore[arg-type]


def test_what_was_valid_by_then_and_hidden_later_is_found(client: Client) -> None:
    for name, valid_at in (("past", PAST), ("monday", MONDAY), ("future", FUTURE), ("untold", None)):
        client.memories.add("tea", memory_id=name, valid_at=valid_at)
    assert found(client, as_of=PAST) == ["past"]
    assert found(client, as_of="1969-12-31T23:59:59Z") == ["past"]
    assert found(client, as_of=MONDAY - 1) == ["past"]
    assert found(client, as_of=MONDAY) == ["monday", "past"]
    assert found(client, as_of="2023-11-14T22:13:20+00:00") == ["monday", "past"]
    assert found(client, as_of="2023-11-15T08:13:19+10:00") == ["past"]
    assert found(client, as_of=FUTURE) == ["future", "monday", "past", "untold"]
    untold = client.memories.get("untold")
    assert untold is not None
    assert "untold" in found(client, as_of=untold.created_at)
    client.memories.forget("monday")
    client.memories.supersede("past", "untold")
    assert found(client, as_of=MONDAY) == ["monday", "past"]
    assert found(client, as_of=FUTURE) == ["future", "untold"]
    assert found(client, as_of=FUTURE, hidden=True) == ["future", "monday", "past", "untold"]


def test_what_was_deleted_is_found_at_no_time(client: Client) -> None:
    client.memories.add("tea", memory_id="gone", valid_at=PAST)
    client.memories.add("tea", memory_id="said", valid_at=PAST)
    client.memories.delete("gone")
    client.memories.update("said", text="tea and cake")
    assert found(client, as_of=MONDAY) == ["said"]
    (hit,) = client.memories.search("tea", as_of=MONDAY).hits
    assert hit.memory.text == "tea and cake"  # the newest version


def test_a_context_tells_nothing_beside_that_was_not_yet_or_is_not_allowed(client: Client) -> None:
    for number, text in enumerate(("before", "tea", "behind")):
        client.memories.add(
            text,
            memory_id=text,
            conversation_id="c",
            valid_at=MONDAY + number * DAY,
            metadata={"open": text != "before"},
        )
    assert client.memories.context("tea", tokens=100).memory_ids == ("before", "tea", "behind")
    assert client.memories.context("tea", tokens=100, as_of=MONDAY + DAY).memory_ids == ("before", "tea")
    assert client.memories.context("tea", tokens=100, filter="metadata.open == true").memory_ids == ("tea", "behind")
    client.memories.forget("behind")
    assert client.memories.context("tea", tokens=100).memory_ids == ("before", "tea")


def test_a_context_of_messages_keeps_to_it_as_well(client: Client) -> None:
    client.memories.configure_search(messages=True)
    client.conversations.create("c")
    said = [
        NewMessage("user" if number else "assistant", text, None, MONDAY + number * DAY)
        for number, text in enumerate(("before", "tea", "behind"))
    ]
    client.conversations.append_many("c", said)

    def told(**more: object) -> list[str]:
        text = client.memories.context("tea", tokens=100, among="messages", **more).text  # type: ignore[arg-type]
        return [line.split()[-1] for line in text.splitlines()]

    assert told() == ["before", "tea", "behind"]
    assert told(as_of=MONDAY + DAY) == ["before", "tea"]
    assert told(filter='role == "user"') == ["tea", "behind"]


def test_filters_see_what_is_hidden_and_by_what(client: Client) -> None:
    for name in "abc":
        client.memories.add("tea", memory_id=name)
    asked = {
        'superseded_by == "b"': ["a"],
        "forgotten_at exists": ["c"],
        'superseded_at > "2020-01-01"': ["a"],
        "not (forgotten_at exists or superseded_at exists)": ["b"],
    }
    for filter in asked:
        assert found(client, filter=filter, hidden=True) == ([] if "not" not in filter else ["a", "b", "c"])
    client.memories.supersede("a", "b")
    client.memories.forget("c")
    for filter, wanted in asked.items():
        assert found(client, filter=filter, hidden=True) == wanted  # also where the filter was asked before
        assert [each.memory_id for each in client.memories.list(filter, hidden=True)] == wanted
    client.memories.remember("c")
    assert found(client, filter="forgotten_at exists", hidden=True) == []


def test_what_was_true_long_ago_is_kept_found_by_its_date_and_told(client: Client) -> None:
    client.memories.add("Ada was born", memory_id="born", valid_at="1815-12-10T12:00:00Z", conversation_id="c")
    client.memories.add("a day later", memory_id="later", valid_at="1815-12-10T14:00:00Z", conversation_id="c")
    client.memories.add("the epoch", memory_id="epoch", valid_at=-0.5)
    born = client.memories.get("born")
    assert born is not None
    assert born.valid_at == "1815-12-10T12:00:00.000000Z"
    (first, second) = client.memories.search("1815 born").hits
    assert [first.memory.memory_id, second.memory.memory_id] == ["born", "later"]
    assert [each.memory_id for each in client.memories.list('valid_at < "1900-01-01"')] == ["born", "later"]
    assert [each.memory_id for each in client.memories.list('valid_at >= "1969-12-31T23:59:59Z"')] == ["epoch"]
    assert client.memories.context("born", tokens=100).text.splitlines()[0] == "[1815-12-10] Ada was born"
    aged = client.memories.search("born", recency_half_life=100 * 365 * DAY, explain=True).hits[0].score_details
    assert aged is not None
    assert 0.1 < aged.recency < 0.5
    (version,) = client.memories.history("born")
    assert version.memory is not None
    assert version.memory.valid_at == born.valid_at
    for wrong in ("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", -1e12, float("nan")):
        with pytest.raises(errors.InvalidArgument) as refused:
            client.memories.add("x", valid_at=wrong)
        assert refused.value.field == "valid_at"
