"""Memories on the command line over a real daemon: written, listed, searched, moved out and in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.test_with_daemon import lines_of, run
from recollectd.cli.root import root
from recollectd.client import NewMemory, NewMessage
from recollectd.testing import Daemon

WORDS = ("tea", "cake")


def embed_nothing(texts: list[str]) -> list[list[float]]:
    raise LookupError("no model today")


def told(daemon: Daemon, *arguments: object, code: int) -> str:
    """Return what a command that fails says."""
    words = [str(argument) for argument in arguments]
    ended = CliRunner().invoke(root, [*words, "--url", daemon.url])
    assert isinstance(ended.exception, SystemExit), ended.exception
    assert ended.exit_code == code, ended.stderr
    assert ended.stderr.startswith("recollectd: "), ended.stderr
    return ended.stderr


def fill(daemon: Daemon) -> None:
    run(daemon, "vector-space", "create", "mini", 2)
    run(daemon, "vector-space", "alias", "current", "mini")
    run(daemon, "memory", "add", "Ada likes tea", "--id", "a", "--kind", "fact", "--vector", "mini=[1, 2]")
    run(daemon, "memory", "add", "Bob likes cake", "--id", "b", "--place", 52.5, 13.4, "--metadata", '{"n": 1}')


def test_memories_are_written_read_and_deleted(recollectd_daemon: Daemon) -> None:
    fill(recollectd_daemon)
    assert run(recollectd_daemon, "memory", "get", "a") == "Ada likes tea\n"
    found = json.loads(run(recollectd_daemon, "memory", "get", "a", "--vectors", "--json"))
    assert (found["kind"], found["vectors"]) == ("fact", {"mini": [1.0, 2.0]})
    listed = run(recollectd_daemon, "memory", "list", "metadata.n == 1 and place within [52, 13, 100000]", "--json")
    assert [json.loads(line)["memory_id"] for line in listed.splitlines()] == ["b"]
    assert "there was a" in run(recollectd_daemon, "memory", "add", "Ada likes tea", "--if-new")
    assert "forgot b" in run(recollectd_daemon, "memory", "forget", "b")
    assert "Bob" not in run(recollectd_daemon, "memory", "list")
    assert run(recollectd_daemon, "memory", "delete", "a") == "deleted a\n"
    assert run(recollectd_daemon, "memory", "delete", "a") == "there was no memory a\n"
    run(recollectd_daemon, "memory", "get", "a", code=66)


def test_a_search_shows_scores_arms_and_highlights(recollectd_daemon: Daemon) -> None:
    fill(recollectd_daemon)
    table = run(recollectd_daemon, "search", "who likes tea", "--vector", "current=[1, 2]").splitlines()
    assert table[0].split() == ["score", "arms", "(rank)", "memory", "text"]
    assert "keyword (1) current (1)" in table[1]
    assert "Ada *likes* *tea*" in table[1]
    hit = json.loads(run(recollectd_daemon, "search", "cake", "--filter", 'memory_id == "b"', "--json"))
    assert hit["memory"]["memory_id"] == "b"
    assert hit["score_details"]["arms"][0]["arm"] == "keyword"


def test_a_search_is_by_what_is_asked_for(recollectd_daemon: Daemon) -> None:
    fill(recollectd_daemon)
    asked = ("memory", "search", "likes", "--vector", "mini=[1, 2]", "--json")
    found = {
        mode: [json.loads(line)["memory"]["memory_id"] for line in run(recollectd_daemon, *asked, *mode).splitlines()]
        for mode in ((), ("--mode", "vector"), ("--mode", "keyword", "--exact"), ("--min-score", "0.9"))
    }
    assert found == {
        (): ["a", "b"],
        ("--mode", "vector"): ["a"],
        ("--mode", "keyword", "--exact"): ["a", "b"],
        ("--min-score", "0.9"): ["a"],
    }
    text = run(recollectd_daemon, "memory", "context", "tea", "--tokens", 20)
    assert text.endswith("Ada likes tea\n")
    assert json.loads(run(recollectd_daemon, "memory", "context", "tea", "--json"))["memory_ids"] == ["a"]
    assert run(recollectd_daemon, "memory", "context", "tea", "--tokens", 1) == ""


def test_what_is_hidden_is_shown_again(recollectd_daemon: Daemon) -> None:
    fill(recollectd_daemon)
    assert run(recollectd_daemon, "memory", "supersede", "a", "b") == "b took the place of a\n"
    assert "hide each other" in told(recollectd_daemon, "memory", "supersede", "b", "a", code=65)
    assert json.loads(run(recollectd_daemon, "memory", "list", "--json"))["memory_id"] == "b"
    assert json.loads(run(recollectd_daemon, "memory", "supersede", "a", "b", "--json"))["superseded_by"] == "b"
    run(recollectd_daemon, "memory", "forget", "b")
    assert run(recollectd_daemon, "memory", "list").splitlines()[1:] == []
    assert run(recollectd_daemon, "memory", "remember", "b") == "remembered b\n"
    assert json.loads(run(recollectd_daemon, "memory", "remember", "b", "--json")) == {"memory_id": "b"}
    run(recollectd_daemon, "memory", "delete", "a")
    lines = run(recollectd_daemon, "memory", "history", "a").splitlines()
    assert [line.split()[0] for line in lines] == ["version", "2", "1"]
    assert "(gone)" in lines[1]
    assert "Ada likes tea" in lines[2]
    newest = run(recollectd_daemon, "memory", "history", "a", "--limit", 1, "--json")
    assert json.loads(newest)["version"] == 2
    told(recollectd_daemon, "memory", "history", "nobody", code=66)


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "x", "--metadata", "[1]"),
        ("add", "x", "--metadata", "{"),
        ("add", "x", "--vector", "mini={}"),
        ("add", "x", "--vector", "mini=abc"),
        ("add", "x", "--vector", "mini=[1]"),
        ("add", "x", "--vector", "mini"),
        ("add", "x", "--vector", "mini=[1, 2]", "--vector", "mini=[1, 2]"),
        ("add", "x", "--place", "91", "0"),
        ("search", "x", "--filter", "kind = 1"),
        ("search", ""),
        ("search", "x", "--mode", "vector"),
    ],
)
def test_what_is_no_memory_is_told_with_what_to_do(recollectd_daemon: Daemon, arguments: tuple[str, ...]) -> None:
    run(recollectd_daemon, "vector-space", "create", "mini", 2)
    result = CliRunner().invoke(root, ["memory", *arguments, "--url", recollectd_daemon.url])
    assert result.exit_code in (64, 65), result.stderr
    assert "--text" not in result.stderr


def test_stored_text_does_not_steer_the_terminal(recollectd_daemon: Daemon) -> None:
    run(recollectd_daemon, "memory", "add", "tea\x1b[31m\u202ered\nnext", "--id", "evil\x07")
    for command in (("memory", "list"), ("search", "tea")):
        shown = run(recollectd_daemon, *command)
        assert not {"\x1b", "\u202e", "\x07"} & set(shown)
        assert len(shown.splitlines()) == 2


def test_a_search_for_ids_tells_scores_alone(recollectd_daemon: Daemon) -> None:
    fill(recollectd_daemon)
    table = run(recollectd_daemon, "search", "tea", "--ids")
    assert table.split()[:2] == ["score", "memory"]
    assert "a" in table.split()
    (first, *_) = map(json.loads, run(recollectd_daemon, "search", "tea", "--ids", "--json").splitlines())
    assert set(first) == {"memory_id", "score"}
    run(recollectd_daemon, "search", "tea", "--ids", "--among", "both", code=64)


def test_vector_spaces_are_listed_and_dropped(recollectd_daemon: Daemon) -> None:
    fill(recollectd_daemon)
    spaces = [json.loads(line) for line in run(recollectd_daemon, "vector-space", "list", "--json").splitlines()]
    assert [(each["name"], each.get("alias_of", "")) for each in spaces] == [("current", "mini"), ("mini", "")]
    assert json.loads(run(recollectd_daemon, "vector-space", "create", "other", 3, "--json"))["dimensions"] == 3
    assert json.loads(run(recollectd_daemon, "vector-space", "alias", "now", "other", "--json"))["space"] == "other"
    assert json.loads(run(recollectd_daemon, "vector-space", "drop", "other", "--json"))["dropped"] is True
    assert run(recollectd_daemon, "vector-space", "drop", "mini") == "dropped mini\n"
    assert "there was no" in run(recollectd_daemon, "vector-space", "drop", "mini")


def test_messages_and_languages_are_searched_as_set(recollectd_daemon: Daemon) -> None:
    told = json.loads(run(recollectd_daemon, "search-settings", "--json"))
    assert (told["language"], told["stemming"], told["messages"], told["indexing"]) == ("english", True, False, False)
    run(recollectd_daemon, "conversation", "create", "chat")
    run(recollectd_daemon, "conversation", "append", "chat", "user", "Die alten Häuser")
    shown = run(recollectd_daemon, "search-settings", "--language", "german", "--messages")
    assert "german" in shown
    table = run(recollectd_daemon, "search", "Haus", "--among", "messages").splitlines()
    assert "chat#0" in table[1]
    assert "*Häuser*" in table[1]
    hit = json.loads(run(recollectd_daemon, "search", "Haus", "--among", "both", "--json"))
    assert (hit["memory"]["role"], hit["memory"]["conversation_id"]) == ("user", "chat")
    run(recollectd_daemon, "search-settings", "--no-messages", "--language", "klingon", code=65)
    assert json.loads(run(recollectd_daemon, "search-settings", "--no-messages", "--json"))["messages"] is False


def test_messages_are_searched_by_words_vectors_or_both(recollectd_daemon: Daemon) -> None:
    run(recollectd_daemon, "vector-space", "create", "mini", 2)
    run(recollectd_daemon, "search-settings", "--messages")
    run(recollectd_daemon, "conversation", "create", "chat")
    say = ("conversation", "append", "chat", "user")
    run(recollectd_daemon, *say, "Where is my red bicycle?", "--vector", "mini=[1, 0]")
    run(recollectd_daemon, *say, "In the cellar.", "--vector", "mini=[0.1, 1]")
    run(recollectd_daemon, *say, "x", "--vector", "other=[1]", code=66)
    run(recollectd_daemon, *say, "x", "--vector", "mini=[0, 0]", code=65)
    asked = ("search", "--among", "messages", "--vector", "mini=[0, 1]")
    table = run(recollectd_daemon, *asked).splitlines()
    assert [line.split()[1:4] for line in table[1:]] == [["mini", "(1)", "chat#1"], ["mini", "(2)", "chat#0"]]
    table = run(recollectd_daemon, *asked, "bicycle").splitlines()
    assert any("keyword (1) mini (2)" in line and "red *bicycle*" in line for line in table)
    for mode, arms in (("keyword", {"keyword"}), ("vector", {"mini"}), ("hybrid", {"keyword", "mini"})):
        hits = map(json.loads, run(recollectd_daemon, *asked, "bicycle", "--mode", mode, "--json").splitlines())
        assert {arm["arm"] for hit in hits for arm in hit["score_details"]["arms"]} == arms
    run(recollectd_daemon, "search", "bicycle", "--mode", "vector", code=65)
    run(recollectd_daemon, "vector-space", "create", "wide", 3)
    move = ("vector-space", "reembed", "wide", "--embedder", f"{__name__}:embed", "--json")
    assert json.loads(run(recollectd_daemon, *move))["embedded"] == 2


def embed(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0, 2.0] for text in texts]


def test_memories_are_embedded_into_another_space(recollectd_daemon: Daemon) -> None:
    fill(recollectd_daemon)
    move = ("vector-space", "reembed", "wide", "--alias", "current")
    run(recollectd_daemon, *move, "--embedder", "json:nothing", code=64)
    run(recollectd_daemon, *move, code=64)
    run(recollectd_daemon, *move, "--embedder", f"{__name__}:embed", code=66)  # there is no such space
    run(recollectd_daemon, "vector-space", "create", "wide", 3)
    moved = json.loads(run(recollectd_daemon, *move, "--embedder", f"{__name__}:embed", "--json"))
    assert moved == {"space": "wide", "embedded": 2, "alias": "current"}
    found = json.loads(run(recollectd_daemon, "memory", "get", "a", "--vectors", "--json"))
    assert found["vectors"] == {"mini": [1.0, 2.0], "wide": [13.0, 1.0, 2.0]}
    run(recollectd_daemon, "vector-space", "create", "flat", 1)
    program = f"{sys.executable} -c 'import sys; [print([len(line)]) for line in sys.stdin]'"
    text = run(recollectd_daemon, "vector-space", "reembed", "flat", "--command", program)
    assert text == "embedded 2\n"
    run(recollectd_daemon, "memory", "add", "another")
    for arguments, code in (
        (("--command", "false"), 65),
        (("--command", "no-such-program"), 65),
        (("--command", "echo no-json"), 65),
        (("--command", "unbalanced '"), 64),
        (("--command", ""), 64),
        (("--embedder", f"{__name__}:embed_nothing"), 65),
        (("--embedder", f"{__name__}:WORDS"), 64),
    ):
        assert "defect" not in told(recollectd_daemon, "vector-space", "reembed", "flat", *arguments, code=code)


def test_an_export_comes_back_as_it_was(recollectd_daemon: Daemon, tmp_path: Path) -> None:
    fill(recollectd_daemon)
    exported, again = tmp_path / "exported.jsonl", tmp_path / "again.jsonl"
    with recollectd_daemon.client() as client:
        said = [NewMemory(text, text, conversation_id="c", valid_at=5.0) for text in ("z", "y", "x")]
        client.memories.add_many(said)
        client.memories.forget("y")
        client.memories.supersede("z", "a")
    run(recollectd_daemon, "export", exported)
    with Daemon() as other:
        run(other, "import", exported)
        run(other, "import", exported)
        run(other, "export", again)
    own = ("version", "created_at", "updated_at", "exported_at", "forgotten_at", "superseded_at")
    stripped = [
        [{k: v for k, v in line.items() if k not in own} for line in lines_of(path)] for path in (exported, again)
    ]
    assert stripped[0] == stripped[1]
    hidden = [line["memory_id"] for line in lines_of(again) if "forgotten_at" in line or "superseded_at" in line]
    assert sorted(hidden) == ["y", "z"]
    assert [line["memory_id"] for line in lines_of(again) if line.get("conversation_id")] == ["z", "y", "x"]


def test_an_import_that_was_broken_off_hides_what_is_hidden_when_it_goes_on(
    recollectd_daemon: Daemon, tmp_path: Path
) -> None:
    exported, broken = tmp_path / "exported.jsonl", tmp_path / "broken.jsonl"
    with recollectd_daemon.client() as client:
        client.memories.add_many([NewMemory(name, name) for name in "abc"])
        client.memories.supersede("a", "b")
        client.memories.forget("c")
    run(recollectd_daemon, "export", exported)
    broken.write_text(exported.read_text() + "no line\n")
    with Daemon() as other, other.client() as client:
        run(other, "import", broken, code=65)
        assert "a" in {each.memory_id for each in client.memories.list()}  # what takes places is said at the end
        run(other, "import", exported)
        assert [each.memory_id for each in client.memories.list()] == ["b"]
        client.memories.remember("c")
        run(other, "import", exported)
        assert [each.memory_id for each in client.memories.list()] == ["b", "c"]


def test_a_circle_of_an_old_export_stays_hidden(recollectd_daemon: Daemon, tmp_path: Path) -> None:
    exported = tmp_path / "exported.jsonl"
    with recollectd_daemon.client() as client:
        client.memories.add_many([NewMemory(name, name) for name in "ab"])
        client.memories.supersede("a", "b")
    run(recollectd_daemon, "export", exported)
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    for line in lines:
        if line.get("memory_id") == "b":
            line["superseded_by"] = "a"
    exported.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Daemon() as other, other.client() as client:
        run(other, "import", exported)
        assert list(client.memories.list()) == []
        assert client.memories.count(hidden=True) == 2


def test_how_a_namespace_is_searched_travels_with_its_records(recollectd_daemon: Daemon, tmp_path: Path) -> None:
    exported = tmp_path / "exported.jsonl"
    with recollectd_daemon.client() as client:
        german = client.with_namespace("de")
        german.memories.configure_search(language="german", messages=True, accesses=True)
        german.conversations.create("c")
        german.conversations.append("c", "user", "die alten Häuser")
        german.memories.add("das alte Haus", memory_id="a")
        client.with_namespace("empty").memories.configure_search(stemming=False)
        spaces = client.with_namespace("spaces").vector_spaces
        spaces.create("mini", 3, metric="dot", precision="f32", model="m")
        spaces.alias("now", "mini")
        spaces.create("gone", 3)
        spaces.alias("nothing", "gone")
        spaces.drop("gone")
    run(recollectd_daemon, "export", exported)
    with Daemon() as other:
        report = json.loads(run(other, "import", exported, "--json"))
        assert report["added"]["search_settings"] == 2
        with other.client() as client:
            german = client.with_namespace("de")
            settings = german.memories.search_settings()
            assert (settings.language, settings.messages, settings.accesses) == ("german", True, True)
            hits = german.memories.search("Haus", among="both").hits
            assert {hit.memory.text for hit in hits} == {"das alte Haus", "die alten Häuser"}
            assert not client.with_namespace("empty").memories.search_settings().stemming
            told = {space.name: space for space in client.with_namespace("spaces").vector_spaces.list()}
            assert set(told) == {"mini", "now"}
            assert (told["mini"].metric, told["mini"].precision, told["mini"].model) == ("dot", "f32", "m")
            german.memories.configure_search(language="french")
        report = json.loads(run(other, "import", exported, "--json"))
        assert report["there_already"]["search_settings"] == 2
        with other.client() as client:
            assert client.with_namespace("de").memories.search_settings().language == "french"


def test_messages_travel_with_their_vectors(recollectd_daemon: Daemon, tmp_path: Path) -> None:
    exported, again = tmp_path / "exported.jsonl", tmp_path / "again.jsonl"
    with recollectd_daemon.client() as client:
        client.vector_spaces.create("mini", 2, precision="f32")
        client.memories.configure_search(messages=True)
        for name in ("a", "b\0/"):
            client.conversations.create(name)
            client.conversations.append(name, "user", "first", message_id="m", vectors={"mini": [0.1, 2]})
            client.conversations.append(name, "user", "second")
            client.conversations.append_many(
                name, [NewMessage("user", str(n), vectors={"mini": [n, 0.5]} if n % 2 else None) for n in range(2_100)]
            )
        client.memories.add("beside", memory_id="m", vectors={"mini": [1, 1]})
    run(recollectd_daemon, "export", exported)
    kinds = [line["kind"] for line in lines_of(exported)]
    assert kinds.index("vector_space") < kinds.index("message")
    vectors = 2 * (1 + 1_050) + 1
    with Daemon() as other:
        report = json.loads(run(other, "import", exported, "--json"))
        assert report["added"]["vector"] == vectors
        report = json.loads(run(other, "import", exported, "--json"))
        assert report["there_already"]["vector"] == vectors
        run(other, "export", again)
        with other.client() as client:
            (hit, *_) = client.memories.search(vectors={"mini": [0.1, 2]}, among="messages").hits
            assert (hit.memory.memory_id, hit.memory.text) == ("m", "first")
    own = ("created_at", "last_used_at", "updated_at", "exported_at", "timestamp", "version")
    stripped = [
        [{k: v for k, v in line.items() if k not in own} for line in lines_of(each)] for each in (exported, again)
    ]
    assert stripped[0] == stripped[1]
