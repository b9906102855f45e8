"""Searches of a running daemon: arms agree with the records through deletes, expiry, kills and lost files."""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from recollectd.client import Client, NewMemory
from recollectd.protocol import errors
from recollectd.protocol.limits import QUERY_BYTES_MAX
from recollectd.testing import Daemon
from support.waiting import until

WORDS = ("tea", "cake", "rain", "snow", "bicycle", "piano", "river", "letter")
SPACE = "mini"


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon(options={"server.sweep_interval_ms": 10}) as running:
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.client() as made:
        yield made.with_namespace("acme", "agent")


def ids(client: Client, text: str = "", **told: object) -> list[str]:
    found = client.memories.search(text, limit=1_000, **told)  # type: ignore[arg-type]
    return [hit.memory.memory_id for hit in found.hits]


def vector_of(text: str) -> list[float]:
    return [1.0 + text.count(word) for word in WORDS]


def fill(client: Client, count: int = 40, seed: int = 1) -> dict[str, str]:
    """Add memories without conversations, so that each is found by its own words alone; return texts by id."""
    rng = random.Random(seed)
    texts = {f"m{number:03}": " ".join(rng.sample(WORDS, 3)) for number in range(count)}
    client.vector_spaces.create(SPACE, len(WORDS), precision="f32")
    client.memories.add_many(
        [
            NewMemory(text, name, metadata={"n": n}, vectors={SPACE: vector_of(text)})
            for n, (name, text) in enumerate(texts.items())
        ]
    )
    return texts


def check(client: Client, texts: dict[str, str]) -> None:
    """Every arm finds what the records say, and nothing else."""
    assert {each.memory_id: each.text for each in client.memories.list()} == texts
    for word in WORDS:
        assert set(ids(client, word)) == {name for name, text in texts.items() if word in text.split()}, word
        assert set(ids(client, vectors={SPACE: vector_of(word)})) == set(texts)


def test_writes_are_found_by_whoever_has_their_reply(daemon: Daemon, client: Client) -> None:
    texts = fill(client)
    with daemon.client() as other:
        view = other.with_namespace("acme", "agent")
        check(view, texts)
        for name in list(texts)[::3]:
            client.memories.delete(name)
            del texts[name]
            assert name not in ids(view, " ".join(WORDS))
        check(view, texts)
        name = next(iter(texts))
        client.memories.update(name, text="piano piano", vectors={SPACE: vector_of("piano")})
        texts[name] = "piano piano"
        check(view, texts)
        assert ids(view, vectors={SPACE: vector_of("piano")}, exact=True)[0] == name


def test_after_a_kill_and_with_lost_or_damaged_files_the_arms_agree_with_the_records(daemon: Daemon) -> None:
    with daemon.client() as first:
        texts = fill(first.with_namespace("acme", "agent"))
    daemon.kill()
    daemon.start()
    with daemon.client() as second:
        view = second.with_namespace("acme", "agent")
        check(view, texts)
        view.memories.delete(texts.popitem()[0])
    daemon.stop()  # a checkpoint: the changes are told for good
    shutil.rmtree(daemon.data / "keywords")
    shutil.rmtree(daemon.data / "vectors")
    daemon.start()
    with daemon.client() as third:
        check(third.with_namespace("acme", "agent"), texts)
    daemon.stop()
    for file in [*(daemon.data / "keywords").iterdir(), *(daemon.data / "vectors").iterdir()]:
        if file.is_file():
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 0xFF
            file.write_bytes(content)
    daemon.start()
    with daemon.client() as fourth:
        check(fourth.with_namespace("acme", "agent"), texts)


def test_neighbouring_namespaces_do_not_move_scores(client: Client) -> None:
    alone = client.with_namespace("acme")
    alone.memories.add_many([NewMemory("tea and cake", "a"), NewMemory("tea and rain", "b")])
    before = [
        (hit.memory.memory_id, hit.score, hit.score_details)
        for hit in alone.memories.search("tea cake", explain=True).hits
    ]
    for labels in (("acme", "x"), ("acme-corp",)):
        fill(client.with_namespace(*labels), 200)
    after = [
        (hit.memory.memory_id, hit.score, hit.score_details)
        for hit in alone.memories.search("tea cake", explain=True).hits
    ]
    assert before == after


def test_a_filter_means_the_same_in_every_arm(client: Client) -> None:
    texts = fill(client, 60)
    for filter in ("metadata.n < 10", 'metadata.n in [1, 2, 3] or memory_id == "m059"', "not (metadata.n >= 5)"):
        wanted = {each.memory_id for each in client.memories.list(filter)}
        assert set(ids(client, vectors={SPACE: vector_of("tea")}, filter=filter)) == wanted
        by_words = {name for name in wanted if "tea" in texts[name].split()}
        assert set(ids(client, "tea", filter=filter)) == by_words
        assert set(ids(client, "tea", vectors={SPACE: vector_of("tea")}, filter=filter)) == wanted


def test_hidden_and_expired_memories_are_not_found(client: Client) -> None:
    for name in "abc":
        client.memories.add("tea", memory_id=name)
    client.memories.add("tea", memory_id="brief", ttl=0.001)
    client.memories.forget("a")
    client.memories.supersede("b", "c")
    assert ids(client, "tea") == ["c"]
    assert sorted(ids(client, "tea", hidden=True)) == ["a", "b", "c"]
    hidden = client.memories.get("b")
    assert hidden is not None
    assert sorted(ids(client, "tea", as_of=hidden.created_at)) == ["a", "b"]
    client.memories.remember("a")
    assert sorted(ids(client, "tea")) == ["a", "c"]


def test_context_at_indexing_time_comes_and_goes_with_the_conversation(client: Client) -> None:
    said = ["Ada: I play the piano", "Bob: which one?", "Ada: a red one"]
    for number, text in enumerate(said):
        client.memories.add(text, memory_id=str(number), conversation_id="c", valid_at="2023-05-08T12:00:00Z")
    client.memories.add("Ada: a blue one", memory_id="3", conversation_id="c", valid_at="2024-05-08T12:00:00Z")
    assert sorted(ids(client, "piano")) == ["0", "1", "2"]
    assert sorted(ids(client, "May 2023")) == ["0", "1", "2", "3"]
    client.memories.delete("0")
    assert ids(client, "piano") == []
    context = client.memories.context("red", tokens=20)
    assert context.text == "[2023-05-08] Bob: which one?\n[2023-05-08] Ada: a red one"
    assert (context.memory_ids, context.tokens <= 20) == (("1", "2"), True)
    assert client.memories.context("red", tokens=1).text == ""


def test_pages_of_results_are_the_whole_without_gaps(client: Client) -> None:
    fill(client)
    whole = ids(client, "tea cake", vectors={SPACE: vector_of("tea")})
    paged: list[str] = []
    cursor = b""
    while True:
        page = client.memories.search("tea cake", vectors={SPACE: vector_of("tea")}, limit=7, cursor=cursor)
        paged += [hit.memory.memory_id for hit in page.hits]
        cursor = page.cursor
        if not cursor:
            break
    assert paged == whole
    first = client.memories.search("tea cake", limit=7)
    with pytest.raises(errors.InvalidCursor):
        client.memories.search("tea", limit=7, cursor=first.cursor)


def test_factors_move_scores_as_told(client: Client) -> None:
    client.memories.add("Ada: tea", memory_id="a", importance=1.0, valid_at="2020-01-01T00:00:00Z")
    client.memories.add("Bob: tea", memory_id="b", importance=0.0, valid_at="2026-01-01T00:00:00Z")
    client.memories.add("Bob: tea tea", memory_id="c", importance=0.0, valid_at="2026-01-01T00:00:00Z")
    assert ids(client, "what did Ada say of tea")[0] == "a"
    assert ids(client, "tea", importance_weight=1.0)[0] == "a"
    aged = client.memories.search("tea", recency_half_life=365 * 86_400.0, explain=True).hits
    factors = {hit.memory.memory_id: hit.score_details.recency for hit in aged if hit.score_details is not None}
    assert 0 < factors["a"] < factors["b"] / 8
    assert factors["b"] == factors["c"]
    assert set(ids(client, "tea", diversity=0.9)) == {"a", "b", "c"}
    best = client.memories.search("tea", limit=1).hits[0].score
    assert ids(client, "tea", min_score=best + 0.01) == []


def test_results_that_share_rare_words_with_the_first_count_more(client: Client) -> None:
    texts = {
        "first": "sister sister sister oboe Lund",
        "shares": "sister garden oboe Lund",
        "alone": "sister garden",
        "no": "harbour",
        "more": "garden",
    }
    for name, text in texts.items():
        client.memories.add(text, memory_id=name)
    without = client.memories.search("sister", expansion=0.0, explain=True).hits
    with_it = client.memories.search("sister", expansion=1.0, explain=True).hits
    assert [hit.memory.memory_id for hit in without] == ["first", "alone", "shares"]
    assert [hit.memory.memory_id for hit in with_it] == ["first", "shares", "alone"]
    for before, after in ((without[0], with_it[0]), (without[2], with_it[1])):
        assert before.score_details is not None
        assert after.score_details is not None
        expansion = after.score_details.arms[-1]
        assert [arm.arm for arm in before.score_details.arms] == ["keyword"]
        assert (expansion.arm, expansion.weight) == ("expansion", 1.0)
        assert after.score == pytest.approx(before.score + expansion.weight * expansion.normalised)


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({}, "text"),
        ({"text": "x", "mode": "vector"}, "vectors"),
        ({"vectors": {SPACE: [1.0] * 8}, "mode": "keyword"}, "text"),
        ({"text": "x", "mode": "guess"}, "mode"),
        ({"text": "x", "vectors": {SPACE: [1.0]}}, f"vectors['{SPACE}']"),
        ({"text": "x", "vectors": {SPACE: [0.0] * 8}}, f"vectors['{SPACE}']"),
        ({"text": "x", "vectors": {"none": [1.0]}}, "vectors['none']"),
        ({"text": "x", "weights": {"none": 1.0}}, "weights"),
        ({"text": "x", "weights": {"keyword": 0.0}}, "weights['keyword']"),
        ({"text": "x", "filter": "kind ="}, "filter"),
        ({"text": "x" * (QUERY_BYTES_MAX + 1)}, "text"),
        ({"text": "x", "cursor": b"nonsense"}, "cursor"),
    ],
)
def test_searches_out_of_bounds_are_refused_by_name(client: Client, told: dict[str, object], field: str) -> None:
    client.vector_spaces.create(SPACE, 8)
    with pytest.raises(errors.RequestError) as refused:
        client.memories.search(**told)  # type: ignore[arg-type]
    assert refused.value.field == field


@pytest.mark.parametrize(
    "text", ["x " * 5_000, '+-&|!(){}[]^"~*?:\\/ AND OR NOT', "\0", "  ", "é" * 10_000, "the of and"]
)
def test_any_words_are_an_answer(client: Client, text: str) -> None:
    client.memories.add("something else entirely")
    assert ids(client, text) in ([], ids(client, text))


def test_spaces_dropped_and_made_anew_forget_their_vectors(daemon: Daemon, client: Client) -> None:
    fill(client, 5)
    client.vector_spaces.alias("current", SPACE)
    assert len(ids(client, vectors={"current": vector_of("tea")})) == 5
    client.vector_spaces.drop(SPACE)
    with pytest.raises(errors.NotFound):
        ids(client, vectors={"current": vector_of("tea")})
    client.vector_spaces.create(SPACE, 2)
    assert ids(client, vectors={"current": [1.0, 2.0]}) == []
    client.memories.update("m000", vectors={SPACE: [1.0, 2.0]})
    daemon.kill()
    daemon.start()
    assert ids(client, vectors={"current": [1.0, 2.0]}) == ["m000"]


def held(daemon: Daemon, *fragments: bytes) -> set[str]:
    """Return the folders of views that have a file with any of these bytes. Files come and go meanwhile."""
    found: set[str] = set()
    for name in ("keywords", "vectors"):
        for folder, _, files in os.walk(daemon.data / name):
            for file in files:
                with suppress(FileNotFoundError):
                    content = Path(folder, file).read_bytes()
                    if any(fragment in content for fragment in fragments):
                        found.add(name)
    return found


def test_what_was_deleted_or_replaced_is_erased_from_every_file_of_the_views(daemon: Daemon, client: Client) -> None:
    texts = fill(client)
    secret, unit = "quuxophonist", [0.5 if at in (1, 3, 4, 6) else 0.0 for at in range(len(WORDS))]
    rows = struct.pack(f"<{len(WORDS)}f", *unit)
    for name, text, chat in (("gone", secret, None), ("changed", secret, "c"), ("beside", "tea", "c")):
        client.memories.add(text, memory_id=name, conversation_id=chat, vectors={SPACE: unit})
    client.memories.update("beside", vectors={SPACE: vector_of("tea")})
    daemon.restart()  # a checkpoint: all this is in files
    assert held(daemon, secret.encode()) == {"keywords"}
    assert held(daemon, rows) == {"vectors"}
    client.memories.delete("gone")
    client.memories.update("changed", text="cake", vectors={SPACE: vector_of("cake")})
    asked = client.erase()
    assert asked.asked_seq
    until(lambda: client.erase(start=False).done)
    assert held(daemon, secret.encode(), rows, b"gone") == set()
    client.memories.delete("changed")
    client.memories.delete("beside")
    check(client, texts)
    daemon.restart()
    check(client, texts)
    assert client.erase(start=False).done


def test_erasing_comes_by_itself() -> None:
    with Daemon(options={"server.erase_interval_s": 1}) as running, running.client() as made:
        made.memories.add("a quuxophonist", memory_id="m")
        running.restart()
        assert held(running, b"quuxophonist") == {"keywords"}
        made.memories.delete("m")
        until(lambda: not held(running, b"quuxophonist"))
        assert made.memories.search("quuxophonist").hits == []
