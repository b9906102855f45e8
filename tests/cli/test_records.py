"""state, log, conversation and namespaces: what goes in, and what comes out for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.command_line import Run
from support.fake_client import FakeClient
from support.fake_store import FakeStore

# -- state ----------------------------------------------------------------------------------------------------------


def test_put_and_get_for_people(run: Run) -> None:
    assert run("state", "put", "profile", '{"name": "Ada"}').out == "stored profile, version 1\n"
    shown = run("state", "get", "profile").out
    assert shown.startswith("profile  version 1, written 2026-01-01T00:00:")
    assert '"name": "Ada"' in shown


def test_put_and_get_for_programs(run: Run) -> None:
    assert run("state", "put", "k", "[1, null, 2.5]", "--ttl", "1h", "--json").json() == {"key": "k", "version": 1}
    record = run("state", "get", "k", "--json").json()
    assert list(record) == ["key", "value", "version", "created_at", "updated_at", "expires_at"]
    assert record["value"] == [1, None, 2.5]
    assert record["expires_at"].startswith("2026-01-01T01:00")


@pytest.mark.parametrize(
    ("arguments", "stdin", "value"),
    [
        (["plain words", "--text"], b"", "plain words"),
        (["-"], b'{"a": [true]}', {"a": [True]}),
        (["-", "--text"], "grüß\n".encode(), "grüß\n"),
        (["--bytes-from", "-"], b"\x00\xff", b"\x00\xff"),
        (['{"$bytes": "AP8="}'], b"", b"\x00\xff"),
        (['{"$ref": 1}'], b"", {"$ref": 1}),
    ],
)
def test_ways_to_give_a_value(run: Run, client: FakeClient, arguments: list[str], stdin: bytes, value: Any) -> None:
    run("state", "put", "k", *arguments, stdin=stdin)
    record = client.state.get("k")
    assert record is not None
    assert record.value == value


def test_bytes_from_a_file_come_back_as_they_were(run: Run, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(bytes(range(256)))
    run("state", "put", "k", "--bytes-from", tmp_path / "blob")
    assert run("state", "get", "k", "--value").raw == bytes(range(256))
    assert "$bytes" in run("state", "get", "k", "--json").out


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["{'a': 1}"], "VALUE is not JSON", 65),
        (["18446744073709551616"], "does not fit 64 bits", 65),
        (['{"$bytes": "?"}'], "$bytes", 65),
        ([], "Give a VALUE", 64),
        (["1", "--bytes-from", "-"], "one of the two", 64),
        (["1", "--ttl", "soon"], "'soon': expected seconds", 64),
        (["1", "--ttl", "0"], "ttl", 65),
        (["1", "-n", "a//b"], "a label is empty", 64),
        (["1", "-n", "x" * 129], "namespace", 65),
    ],
)
def test_values_and_options_that_are_refused(run: Run, arguments: list[str], said: str, code: int) -> None:
    ended = run("state", "put", "k", *arguments, code=code)
    assert said in ended.err


def test_guards(run: Run) -> None:
    run("state", "put", "k", "1", "--if-absent")
    assert "at version 1" in run("state", "put", "k", "2", "--if-absent", code=79).err
    run("state", "put", "k", "2", "--if-version", "1")


def test_what_is_absent_ends_with_66(run: Run) -> None:
    assert run("state", "get", "none", code=66).out == ""
    assert run("state", "get", "none", "--json", code=66).json() is None
    assert run("state", "touch", "none", "--ttl", "5", code=66).err


def test_namespaces_are_kept_apart(run: Run) -> None:
    run("state", "put", "k", "1", "-n", "acme/a%2Fb")
    run("state", "put", "k", "2", "-n", "acme", "-n", "c")
    assert run("state", "get", "k", "--value", "-n", "acme/a%2Fb").out == "1\n"
    assert run("namespaces").out.splitlines() == ["acme/c", "acme/a%2Fb"]
    assert run("namespaces", "acme", "--json").lines() == [["acme", "c"], ["acme", "a/b"]]


def test_scan(run: Run, client: FakeClient) -> None:
    client.state.put_many({f"k{number:02d}": number for number in range(20)})
    assert run("state", "scan", "k1", "--keys").out.split() == [f"k{number}" for number in range(10, 20)]
    assert run("state", "scan", "--pattern", "*5", "--reverse", "--keys", "--json").lines() == ["k15", "k05"]
    assert [record["value"] for record in run("state", "scan", "--json").lines()] == list(range(20))
    assert "k00  v1  0" in run("state", "scan").out


def test_scan_by_pages(run: Run, client: FakeClient) -> None:
    client.state.put_many({f"k{number:02d}": number for number in range(20)})
    seen: list[str] = []
    cursor: list[str] = []
    while True:
        page = run("state", "scan", "--limit", "5", "--keys", "--json", *cursor).json()
        seen += page["records"]
        if not page["cursor"]:
            break
        cursor = ["--cursor", page["cursor"]]
    assert seen == [f"k{number:02d}" for number in range(20)]
    assert "--cursor" in run("state", "scan", "--limit", "5").err
    assert "expected what a page before gave" in run("state", "scan", "--cursor", "?", code=64).err


def test_history_delete_count_touch(run: Run) -> None:
    run("state", "put", "k", '"first"')
    run("state", "put", "k", '"second"')
    assert run("state", "touch", "k", "--ttl", "60", "--json").json()["expires_at"].startswith("2026-01-01T00:01")
    assert run("state", "count").out == "1 record\n"
    assert run("state", "delete", "k").out == "deleted k\n"
    assert run("state", "delete", "k", "--json").json() == {"key": "k", "deleted": False}
    assert run("state", "count", "--json").json() == {"count": 0}
    rows = [line.split() for line in run("state", "history", "k").out.splitlines()[1:]]
    assert [(row[0], row[2]) for row in rows] == [("3", "(deleted)"), ("2", '"second"'), ("1", '"first"')]
    versions = run("state", "history", "k", "--limit", "2", "--json").json()["versions"]
    assert [(version["version"], version["deleted"]) for version in versions] == [(3, True), (2, False)]


def test_delete_prefix_asks_first(run: Run, client: FakeClient) -> None:
    client.state.put_many({"a1": 1, "a2": 2, "b": 3})
    assert "--yes" in run("state", "delete-prefix", "a", code=64).err
    assert run("state", "delete-prefix", "a", "--yes").out == "deleted 2 records\n"
    assert run("state", "delete-prefix", "", "--yes", "--json").json() == {"deleted": 1}


# -- logs -----------------------------------------------------------------------------------------------------------


def test_logs(run: Run) -> None:
    assert run("log", "append", "steps", "1", '{"a": 2}', "--json").json()["next"] == 2
    run("log", "append", "steps", "-", "--text", stdin="three\nfour\n")
    run("log", "append", "steps", "-", stdin='5\n\n"six"\n')
    page = run("log", "read", "steps", "--json").json()
    assert [item["value"] for item in page["items"]] == [1, {"a": 2}, "three", "four", 5, "six"]
    assert [item["value"] for item in run("log", "read", "steps", "--last", "2", "--json").json()["items"]] == [
        5,
        "six",
    ]
    assert run("log", "read", "steps", "--start", "5").out.endswith('"six"\n')
    assert run("log", "list").out.splitlines()[1].split()[:3] == ["steps", "0", "6"]
    assert run("log", "list", "st", "--json").lines()[0]["next"] == 6
    assert run("log", "delete", "steps").out == "deleted steps\n"
    assert run("log", "delete", "steps", "--json").json() == {"log_id": "steps", "deleted": False}


def test_logs_refuse(run: Run) -> None:
    run("log", "append", "steps", "1")
    assert "next position is 1" in run("log", "append", "steps", "2", "--if-next", "0", code=79).err
    assert "line 2 of standard input" in run("log", "append", "steps", "-", stdin="1\n{\n", code=65).err
    assert "nothing to append" in run("log", "append", "steps", "-", code=64).err
    assert "at most one" in run("log", "read", "steps", "--start", "1", "--last", "1", code=64).err


# -- conversations --------------------------------------------------------------------------------------------------


def test_conversations_have_their_shapes_to_the_key(run: Run) -> None:
    created = run("conversation", "create", "--json").json()
    assert list(created) == ["conversation_id", "created_at"]
    chat = created["conversation_id"]
    stored = run("conversation", "append", chat, "user", "Hello", "--json").json()
    assert list(stored) == ["message_id", "conversation_id", "role", "stored_at"]
    run("conversation", "append", chat, "assistant", "-", stdin="Hi!")
    history = run("conversation", "history", chat, "--json").json()
    assert list(history) == ["conversation_id", "messages", "total_messages"]
    assert history["total_messages"] == 2
    assert list(history["messages"][0]) == ["message_id", "role", "content", "timestamp"]
    assert [(message["role"], message["content"]) for message in history["messages"]] == [
        ("user", "Hello"),
        ("assistant", "Hi!"),
    ]
    assert run("conversation", "history", chat, "--last", "1", "--json").json()["messages"][0]["content"] == "Hi!"


def test_what_a_caller_adds_to_a_message_comes_back(run: Run) -> None:
    run("conversation", "create", "c", "--metadata", '{"topic": "boats"}')
    arguments = ("--valid-at", "2023-05-08", "--metadata", '{"mood": "glad"}', "--message-id", "m")
    run("conversation", "append", "c", "user", "Hello", *arguments)
    message = run("conversation", "history", "c", "--json").json()["messages"][0]
    assert message["message_id"] == "m"
    assert message["valid_at"] == "2023-05-08T00:00:00.000000Z"
    assert message["metadata"] == {"mood": "glad"}
    assert run("conversation", "show", "c", "--json").json()["metadata"] == {"topic": "boats"}
    assert "1 message" in run("conversation", "show", "c").out


def test_conversations_for_people(run: Run) -> None:
    run("conversation", "create", "c1")
    run("conversation", "create", "c2")
    run("conversation", "append", "c1", "user", "Hello")
    assert "user: Hello" in run("conversation", "history", "c1").out
    rows = [line.split()[0] for line in run("conversation", "list").out.splitlines()[1:]]
    assert rows == ["c1", "c2"], "the last used first"
    assert [info["conversation_id"] for info in run("conversation", "list", "--limit", "1", "--json").lines()] == ["c1"]
    assert run("conversation", "delete", "c1").out == "deleted c1\n"
    assert run("conversation", "show", "c1", "--json", code=66).json() is None


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("append", "c", "system", "x"), "'user', 'assistant'", 64),
        (("append", "c", "user", ""), "must not be empty", 65),
        (("append", "none", "user", "x"), "no conversation none", 66),
        (("append", "c", "user", "x", "--metadata", "[1]"), "JSON object", 64),
        (("append", "c", "user", "x", "--metadata", "{"), "metadata is not JSON", 65),
        (("append", "c", "user", "x", "--valid-at", "nan"), "expected a time", 64),
        (("create", "c"), "exists", 79),
        (("history", "none"), "no conversation none", 66),
    ],
)
def test_what_conversations_refuse(run: Run, arguments: tuple[str, ...], said: str, code: int) -> None:
    run("conversation", "create", "c")
    assert said in run("conversation", *arguments, code=code).err


# -- the daemon -----------------------------------------------------------------------------------------------------


def test_ping_and_status(run: Run, store: FakeStore) -> None:
    assert run("ping").out.startswith("answered in ")
    assert run("ping", "--json").json()["milliseconds"] >= 0
    shown = run("status").out
    assert "  uptime_s                         1.500\n" in shown
    assert "  commits                          1,234,567\n" in shown
    assert "  journal_bytes                    67,108,864  (64.0 MiB)\n" in shown
    assert "  pid                              12345\n" in shown
    assert "empty\n  none\n" in shown
    assert run("status", "--json", "--namespaces").json()["daemon"]["version"] == "9.9"
    assert store.requests[-1].namespaces  # type: ignore[attr-defined]


def test_erase_waits_unless_told_not_to(run: Run, store: FakeStore) -> None:
    assert run("erase", "--no-wait").out == "asked for\n"
    assert run("erase").out == "erased\n"
    assert [request.ask for request in store.requests] == [True, True, False]  # type: ignore[attr-defined]
    assert run("erase", "--json").json() == {"asked_seq": 9, "erased_seq": 9, "running": True}
    store.fail_at = 1
    assert "tries again: no room" in run("erase", code=75).err
