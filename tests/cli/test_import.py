"""Import of recollectd's own lines: each record once, in order, however often and however far it runs."""

from __future__ import annotations

import io
import json
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recollectd.cli.transfer import importing, sources
from recollectd.cli.transfer.chunks import Report
from recollectd.cli.transfer.failures import DataError, TransferStopped
from recollectd.cli.transfer.importing import Importer, own_lines
from recollectd.cli.transfer.sources import derived_id, source_lines
from recollectd.protocol import errors
from support.command_line import Run
from support.fake_client import FakeClient
from support.fake_store import FakeStore


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK_RECORDS_MAX", 5)


def text(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def take_in(client: FakeClient, content: bytes, **how: Any) -> Report:
    importer = Importer(client, own_lines("file"), **how)  # type: ignore[arg-type]
    return importer.run(source_lines(io.BytesIO(content)))


def state_line(key: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "state", "key": key, "value": value, **more}


def log_line(position: int, value: Any, log_id: str = "steps") -> dict[str, Any]:
    return {"kind": "log", "log_id": log_id, "position": position, "value": value}


def message_line(number: int, conversation_id: str = "c", **more: Any) -> dict[str, Any]:
    role = "user" if number % 2 else "assistant"
    return {
        "kind": "message",
        "conversation_id": conversation_id,
        "message_id": f"m{number}",
        "role": role,
        "content": f"text {number}",
        **more,
    }


def contents(client: FakeClient, conversation_id: str = "c") -> list[str]:
    return [message.content for message in client.conversations.history(conversation_id).messages]


# -- states ---------------------------------------------------------------------------------------------------------


def test_states_go_where_their_lines_say(client: FakeClient) -> None:
    lines = text(state_line("a", 1), state_line("b", {"$bytes": "AP8="}, namespace=["acme", "x"]))
    report = take_in(client, lines)
    assert report.added == {"state": 2}
    assert client.state.get_many(["a"])["a"].value == 1
    assert client.with_namespace("acme", "x").state.get_many(["b"])["b"].value == b"\x00\xff"


def test_states_that_are_there_are_left_alone(client: FakeClient, store: FakeStore) -> None:
    lines = text(*(state_line(f"k{number}", number) for number in range(12)))
    take_in(client, lines)
    client.state.put("k3", "changed")
    before = store.writes
    report = take_in(client, lines)
    assert (report.added, report.there_already, report.different) == ({}, {"state": 12}, 1)
    assert store.writes == before
    assert client.state.get_many(["k3"])["k3"].value == "changed"


def test_overwrite_puts_only_what_differs(client: FakeClient, store: FakeStore) -> None:
    take_in(client, text(state_line("a", 1), state_line("b", 2)))
    report = take_in(client, text(state_line("a", 1), state_line("b", 3), state_line("c", 4)), overwrite=True)
    assert (report.added, report.replaced, report.there_already) == ({"state": 1}, 1, {"state": 1})
    assert [client.state.get_many([key])[key].version for key in "abc"] == [1, 2, 1]


def test_one_is_not_true_and_not_a_float(client: FakeClient) -> None:
    take_in(client, text(state_line("a", 1)))
    assert take_in(client, text(state_line("a", True)), overwrite=True).replaced == 1
    assert take_in(client, text(state_line("a", 1.0)), overwrite=True).replaced == 1


@pytest.mark.parametrize(("overwrite", "value"), [(False, 1), (True, 2)])
def test_of_two_lines_with_one_key_one_counts(client: FakeClient, overwrite: bool, value: int) -> None:
    take_in(client, text(state_line("a", 1), state_line("a", 2)), overwrite=overwrite)
    record = client.state.get_many(["a"])["a"]
    assert (record.value, record.version) == (value, 1)


def test_expiry_is_kept_and_what_is_over_is_left_out(client: FakeClient) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    lines = text(
        state_line("over", 1, expires_at="2025-12-31T23:59:59Z"),
        state_line("living", 2, expires_at="2026-01-01T01:00:00Z"),
    )
    report = take_in(client, lines, now=lambda: now)
    assert report.expired == 1
    record = client.state.get_many(["over", "living"])
    assert list(record) == ["living"]
    assert record["living"].expires_at is not None
    assert record["living"].expires_at.startswith("2026-01-01T01:00:0")


def test_a_state_written_meanwhile_is_left_alone(client: FakeClient, store: FakeStore) -> None:
    """Between the look and the put somebody else writes: the guard refuses ours."""
    look = store._StateGetMany

    def written_meanwhile(request: Any) -> Any:
        found = look(request)
        if store.writes == 0:
            client.state.put("a", "theirs")
        return found

    store._StateGetMany = written_meanwhile  # type: ignore[method-assign]
    report = take_in(client, text(state_line("a", "ours"), state_line("b", 1)))
    assert (report.added, report.there_already) == ({"state": 1}, {"state": 1})
    assert client.state.get_many(["a"])["a"].value == "theirs"


# -- logs -----------------------------------------------------------------------------------------------------------


def test_logs_go_on_at_their_end(client: FakeClient) -> None:
    lines = [log_line(position, position) for position in range(12)]
    take_in(client, text(*lines[:8]))
    report = take_in(client, text(*lines))
    assert (report.added, report.there_already) == ({"log": 4}, {"log": 8})
    assert [item.value for item in client.logs.iterate("steps")] == list(range(12))


def test_logs_that_lost_their_first_items_keep_positions(client: FakeClient, store: FakeStore) -> None:
    lines = text(*(log_line(position, position) for position in range(20_000, 20_012)))
    take_in(client, lines)
    assert store.logs[("default",), "steps"].first == 20_000
    assert [item.position for item in client.logs.iterate("steps", start=20_000)] == list(range(20_000, 20_012))
    assert take_in(client, lines).there_already == {"log": 12}


def test_an_interrupted_skip_goes_on(client: FakeClient, store: FakeStore) -> None:
    lines = text(log_line(20_000, "x"))
    store.fail_at = 4
    with pytest.raises(TransferStopped):
        take_in(client, lines)
    assert 0 < store.logs[("default",), "steps"].first < 20_000
    take_in(client, lines)
    assert [item.position for item in client.logs.iterate("steps", start=20_000)] == [20_000]


@pytest.mark.parametrize(
    ("lines", "line", "said"),
    [
        ([log_line(0, "other")], 1, "something else at position 0"),
        ([log_line(1, 1), log_line(5, 5)], 2, "out of place: the next one is 3"),
        ([log_line(3, 3), log_line(4, 4), log_line(9, 9)], 3, "out of place: the next one is 5"),
        ([log_line(99_000_000, 0, "far")], 1, "can be skipped"),
    ],
)
def test_logs_that_do_not_fit_are_refused(client: FakeClient, lines: list[Any], line: int, said: str) -> None:
    client.logs.append("steps", [0, 1, 2])
    with pytest.raises(DataError, match=said) as caught:
        take_in(client, text(*lines))
    assert caught.value.line == line


# -- conversations --------------------------------------------------------------------------------------------------


def test_conversations_come_whole_and_once(client: FakeClient) -> None:
    lines = text(
        {"kind": "conversation", "conversation_id": "c", "metadata": {"n": {"$int": str(2**60)}}},
        *(message_line(number, valid_at="2023-05-08T13:56:00Z", metadata={"n": number}) for number in range(1, 14)),
    )
    report = take_in(client, lines)
    assert report.added == {"conversation": 1, "message": 13}
    history = client.conversations.history("c")
    assert [message.message_id for message in history.messages] == [f"m{number}" for number in range(1, 14)]
    assert history.messages[4].metadata == {"n": 5}
    assert history.messages[4].valid_at == "2023-05-08T13:56:00.000000Z"
    info = client.conversations.info("c")
    assert info is not None
    assert info.metadata == {"n": 2**60}
    again = take_in(client, lines)
    assert (again.added, again.there_already) == ({"message": 0}, {"conversation": 1, "message": 13})
    assert client.conversations.history("c") == history


def test_messages_interleaved_over_conversations_keep_their_order(client: FakeClient) -> None:
    lines = [message_line(number, f"c{number % 3}") for number in range(30)]
    take_in(client, text(*lines))
    for index in range(3):
        assert contents(client, f"c{index}") == [f"text {number}" for number in range(30) if number % 3 == index]


def test_messages_without_an_id_get_one_from_source_and_line(client: FakeClient) -> None:
    line = message_line(1)
    del line["message_id"]
    lines = text(line, line)
    assert take_in(client, lines).added["message"] == 2, "the same text twice is two messages"
    assert take_in(client, lines).added["message"] == 0
    ids = [message.message_id for message in client.conversations.history("c").messages]
    assert ids == [derived_id("file", "1"), derived_id("file", "2")]
    assert derived_id("file", "1") == "import-4759d4db4251ef93e785ce3b5d75459e"


def test_an_id_used_for_two_texts_is_refused(client: FakeClient) -> None:
    with pytest.raises(DataError, match="says something else than it does in line 1") as caught:
        take_in(client, text(message_line(1), message_line(2), message_line(1, content="other")))
    assert caught.value.line == 3


def test_a_conversation_created_meanwhile_is_no_obstacle(client: FakeClient, store: FakeStore) -> None:
    look = store._ConversationHead

    def created_meanwhile(request: Any) -> Any:
        found = look(request)
        if not store.talks:
            client.conversations.create("c")
        return found

    store._ConversationHead = created_meanwhile  # type: ignore[method-assign]
    assert take_in(client, text(message_line(1))).added == {"message": 1}


# -- the run --------------------------------------------------------------------------------------------------------


def many_lines() -> bytes:
    return text(
        *(state_line(f"k{number}", number) for number in range(12)),
        *(log_line(position, position) for position in range(12)),
        {"kind": "conversation", "conversation_id": "c"},
        *(message_line(number) for number in range(23)),
    )


def dump(store: FakeStore) -> Any:
    return (
        {id_: [version.value for version in versions] for id_, versions in store.states.items()},
        {id_: [(item.position, item.value) for item in log.items] for id_, log in store.logs.items()},
        {id_: [(each.message_id, each.content) for each in talk.messages] for id_, talk in store.talks.items()},
    )


@pytest.mark.parametrize("fail_at", range(1, 45))
def test_an_import_cut_off_anywhere_and_run_again_is_an_import(fail_at: int) -> None:
    whole = FakeStore()
    take_in(FakeClient(whole), many_lines())
    cut = FakeStore()
    cut.fail_at = fail_at
    importer = Importer(FakeClient(cut), own_lines("file"))  # type: ignore[arg-type]
    with pytest.raises(TransferStopped) if fail_at <= whole.writes else nullcontext() as caught:
        importer.run(source_lines(io.BytesIO(many_lines())))
    assert caught is None or caught.value.line == importer.report.line < 48
    cut.fail_at = 0
    take_in(FakeClient(cut), many_lines())
    assert dump(cut) == dump(whole)


def test_lines_before_a_bad_one_are_stored(client: FakeClient) -> None:
    good = [state_line(f"k{number}", number) for number in range(7)]
    with pytest.raises(DataError, match=r"^line 8: "):
        take_in(client, text(*good) + b"{not json}\n" + text(state_line("late", 1)))
    assert sorted(record.key for record in client.state.scan()) == [f"k{number}" for number in range(7)]


def test_progress_ends_with_the_source(client: FakeClient) -> None:
    seen: list[int] = []
    take_in(client, b"\xef\xbb\xbf" + many_lines() + b"\n  \n", progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) > 5
    assert len(many_lines()) + 3 <= seen[-1] <= len(many_lines()) + 7


def test_a_line_the_client_refuses_is_named(client: FakeClient) -> None:
    with pytest.raises(DataError, match=r"^line 3: ") as caught:
        take_in(client, text(message_line(1), message_line(2), message_line(3, message_id="x" * 300)))
    assert "message_id" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"[]", "object"),
        (b"{}", "kind"),
        (b'{"kind": "graph"}', "kind"),
        (b'{"kind": "state", "key": "a"}', "value"),
        (b'{"kind": "state", "key": 5, "value": 1}', "key"),
        (b'{"kind": "state", "key": "a", "value": 1, "ttl": 5}', "ttl"),
        (b'{"kind": "state", "key": "", "value": 1}', "key"),
        (b'{"kind": "state", "key": "a", "value": {"$bytes": 1}}', "bytes"),
        (b'{"kind": "state", "key": "a", "value": 99999999999999999999}', "64 bits"),
        (b'{"kind": "state", "key": "a", "value": 1, "expires_at": "soon"}', "expires_at"),
        (b'{"kind": "state", "key": "a", "value": 1, "expires_at": "2026-01-01T00:00:00"}', "time zone"),
        (b'{"kind": "state", "key": "a", "value": "\xff"}', "utf-8"),
        (b'{"kind": "state", "namespace": ["a", ""], "key": "a", "value": 1}', "namespace"),
        (b'{"kind": "state", "key": "a", "value": ' + b"[" * 9_000 + b"]" * 9_000 + b"}", "recursion"),
        (b'{"kind": "log", "log_id": "l", "value": 1}', "position"),
        (b'{"kind": "message", "conversation_id": "c", "role": "bot", "content": "x"}', "role"),
        (b'{"kind": "message", "conversation_id": "c", "role": "user", "content": ""}', "empty"),
        (b'{"kind": "message", "conversation_id": "c", "role": "user", "content": "x", "valid_at": "?"}', "valid_at"),
        (b'{"kind": "conversation", "conversation_id": "c", "metadata": {"$map": [[1, 2]]}}', "text keys"),
        (b'{"kind": "export", "format": 2}', "format 2"),
    ],
)
def test_bad_lines_are_refused_and_named(run: Run, tmp_path: Path, line: bytes, said: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(text(state_line("good", 1)) + line + b"\n")
    ended = run("import", tmp_path / "in.jsonl", code=65)
    assert "line 2: " in ended.err
    assert said in ended.err


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LINE_BYTES_MAX", 100)
    with pytest.raises(DataError, match="line 2: the line is longer than 100 bytes"):
        list(source_lines(io.BytesIO(b"{}\n" + b"x" * 101 + b"\n")))
    assert len(list(source_lines(io.BytesIO(b"{}\n" + b"x" * 99 + b"\n")))) == 2


def test_the_command_says_what_it_did(run: Run, store: FakeStore) -> None:
    shown = run("import", "-", stdin=many_lines()).out
    assert "added 12 states, 12 log items, 1 conversation, 23 messages" in shown
    again = run("import", "-", "--json", stdin=many_lines()).json()
    assert again["line"] == 48
    assert again["there_already"] == {"state": 12, "log": 12, "conversation": 1, "message": 23}
    more = text(*(log_line(position, position, "more") for position in range(12)))
    store.fail_at, store.error = store.writes + 2, errors.Busy("full")
    ended = run("import", "-", stdin=more, code=75)
    assert "full (everything up to line 5 is stored)" in ended.err
    assert "run the same command again" in ended.err
