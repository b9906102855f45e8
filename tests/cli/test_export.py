"""Export of everything as recollectd's own lines: whole, in order, from any place on, and good for an import."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recollectd.cli.transfer import exporting, files
from recollectd.cli.transfer.exporting import Page, Place, conversations_in_order, export_pages
from recollectd.cli.transfer.failures import DataError
from recollectd.cli.transfer.files import write_pages
from recollectd.cli.transfer.importing import Importer, own_lines
from recollectd.cli.transfer.sources import source_lines
from support.command_line import Run
from support.fake_client import FakeClient
from support.fake_store import FakeStore


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "PAGE_RECORDS", 3)


@pytest.fixture
def full(store: FakeStore) -> FakeStore:
    """A store with all kinds in several namespaces, whose order on disk is not that of their labels."""
    for index, labels in enumerate([("b",), ("aa",), ("aa", "x/y"), ("default",)]):
        client = FakeClient(store, labels)
        for number in range(8):
            client.state.put(f"k{number}", {"n": number, "raw": b"\xff", 1: index})
        client.state.put("dying", None, ttl=1e9)
        for log_id in ("l1", "l2"):
            client.logs.append(log_id, [f"{log_id} {number}" for number in range(8)])
        client.logs.truncate("l2", before=3)
        for chat in ("z", "a"):
            client.conversations.create(chat, metadata={"n": index, "raw": b"\x00"})
            for number in range(7):
                role = ("user", "assistant")[number % 2]
                client.conversations.append(chat, role, f"{chat} {number}", valid_at=number, metadata={"n": number})
    return store


def exported(store: FakeStore, **how: Any) -> list[dict[str, Any]]:
    pages = export_pages(FakeClient(store), **how)  # type: ignore[arg-type]
    return [json.loads(line) for page in pages for line in page.text.splitlines()]


def identity(line: dict[str, Any]) -> tuple[Any, ...]:
    names = ("kind", "namespace", "key", "log_id", "position", "conversation_id", "message_id")
    return tuple(str(line.get(name)) for name in names)


def as_given(line: dict[str, Any]) -> dict[str, Any]:
    """The line without what a store gives itself."""
    given_by_store = ("version", "created_at", "updated_at", "stored_at", "timestamp", "last_used_at", "exported_at")
    return {name: value for name, value in line.items() if name not in given_by_store}


def test_everything_is_there_once_in_order(full: FakeStore) -> None:
    lines = exported(full)
    assert lines[0]["kind"] == "export"
    assert lines[0]["format"] == 1
    assert len(lines) == 1 + 4 * (9 + 8 + 5 + 2 + 14)
    assert len({identity(line) for line in lines}) == len(lines)
    namespaces = [tuple(line["namespace"]) for line in lines[1:]]
    assert namespaces == sorted(namespaces)
    of_one = [line for line in lines[1:] if line["namespace"] == ["b"]]
    kinds = ["state" if line["kind"] == "state" else "log" if line["kind"] == "log" else "talk" for line in of_one]
    assert kinds == ["state"] * 9 + ["log"] * 13 + ["talk"] * 16
    assert [line["conversation_id"] for line in of_one if line["kind"] == "conversation"] == ["z", "a"]


def test_an_export_imported_into_another_store_is_the_same_export(full: FakeStore) -> None:
    other = FakeStore()
    text = b"".join(page.text for page in export_pages(FakeClient(full)))  # type: ignore[arg-type]
    importer = Importer(FakeClient(other), own_lines("x"))  # type: ignore[arg-type]
    importer.run(source_lines(io.BytesIO(text)))
    first, second = exported(full), exported(other)
    without_expiry = [{k: v for k, v in as_given(line).items() if k != "expires_at"} for line in first]
    assert [{k: v for k, v in as_given(line).items() if k != "expires_at"} for line in second] == without_expiry
    dying = [line["expires_at"] for line in second if line.get("key") == "dying"]
    assert len(dying) == 4
    assert all(time > "2050" for time in dying)


def test_part_of_it(full: FakeStore) -> None:
    below = exported(full, prefix=("aa",))
    assert {tuple(line["namespace"]) for line in below[1:]} == {("aa",), ("aa", "x/y")}
    assert {line["kind"] for line in exported(full, kinds=["log"])[1:]} == {"log"}
    assert {line["kind"] for line in exported(full, kinds=["conversation"])[1:]} == {"conversation", "message"}


def test_from_every_place_on_the_rest_follows(full: FakeStore) -> None:
    pages = list(export_pages(FakeClient(full)))  # type: ignore[arg-type]
    whole = b"".join(page.text for page in pages)
    places = [(number, page.place) for number, page in enumerate(pages) if page.place is not None]
    assert len(places) > 40
    for number, place in places:
        begun = b"".join(page.text for page in pages[: number + 1])
        rest = b"".join(page.text for page in export_pages(FakeClient(full), at=place))  # type: ignore[arg-type]
        assert begun + rest == whole, place


def test_what_goes_away_meanwhile_does_not_end_the_export(full: FakeStore) -> None:
    pages = export_pages(FakeClient(full))  # type: ignore[arg-type]
    next(pages)
    next(pages)
    full.logs.clear()
    listed = full._ConversationList

    def gone_after_the_list(request: Any) -> Any:
        found = listed(request)
        full.talks.pop((request.namespace, "z"), None)
        return found

    full._ConversationList = gone_after_the_list  # type: ignore[method-assign]
    kinds = [json.loads(line)["kind"] for page in pages for line in page.text.splitlines()]
    assert kinds.count("log") == 0
    assert kinds.count("conversation") == 4


def test_a_conversation_used_during_the_walk_is_not_missed(client: FakeClient, store: FakeStore) -> None:
    for number in range(5):
        client.conversations.create(f"c{number}")
    listed = store._ConversationList
    walks = 0

    def used_during_the_walk(request: Any) -> Any:
        nonlocal walks
        walks += 1
        page = listed(request)
        if walks == 1:  # c0 moved to the front, where the walk has been
            client.conversations.append("c0", "user", "x")
            return type(page)(page.conversations[:-1], page.cursor)
        return page

    store._ConversationList = used_during_the_walk  # type: ignore[method-assign]
    found = conversations_in_order(client, lambda info: (info.conversation_id,))  # type: ignore[arg-type]
    assert found == [(f"c{number}",) for number in range(5)]


# -- the file -------------------------------------------------------------------------------------------------------


class Cut(Exception):
    """The export's process is gone."""


def cut_after(full: FakeStore, count: int) -> Any:
    def pages(at: Place | None) -> Iterator[Page]:
        for number, page in enumerate(export_pages(FakeClient(full), at=at)):  # type: ignore[arg-type]
            if number == count:
                raise Cut
            yield page

    return pages


@pytest.mark.parametrize("count", [0, 1, 2, 5, 17, 30])
def test_an_interrupted_export_goes_on(full: FakeStore, tmp_path: Path, count: int) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(Cut):
        write_pages(out, "all", cut_after(full, count), resume=False)
    assert not out.exists()
    with open(tmp_path / "out.jsonl.partial", "ab") as partial:
        partial.write(b'{"kind": "sta')  # what was being written when the process ended
    for _ in range(60):
        try:
            records = write_pages(out, "all", cut_after(full, 7), resume=True)
            break
        except Cut:
            continue
    written = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [as_given(line) for line in written] == [as_given(line) for line in exported(full)]
    assert records == len(written) - 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_partial_file_of_something_else_is_not_gone_on_with(full: FakeStore, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(Cut):
        write_pages(out, "all", cut_after(full, 9), resume=False)
    with pytest.raises(DataError, match="of an export of all, not of logs"):
        write_pages(out, "logs", cut_after(full, 99), resume=True)
    partial = files.partial_of(out)
    partial.write_bytes(partial.read_bytes()[:10])
    with pytest.raises(DataError, match="has lost its end"):
        write_pages(out, "all", cut_after(full, 99), resume=True)
    (tmp_path / "out.jsonl.progress").write_text("{}")
    with pytest.raises(DataError, match="damaged"):
        write_pages(out, "all", cut_after(full, 99), resume=True)


def test_an_export_begun_anew_forgets_the_old_one(full: FakeStore, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(Cut):
        write_pages(out, "all", cut_after(full, 20), resume=False)
    with pytest.raises(Cut):
        write_pages(out, "all", cut_after(full, 0), resume=False)
    assert not (tmp_path / "out.jsonl.progress").exists()


def test_the_command(run: Run, full: FakeStore, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert run("export", out, "--json").json() == {"records": 152, "file": str(out)}
    printed = run("export", "-")
    assert [as_given(line) for line in printed.lines()] == [
        as_given(json.loads(line)) for line in out.read_text().splitlines()
    ]
    assert "152 records" in printed.err
    assert "is there already" in run("export", out, code=73).err
    run("export", out, "--force", "-n", "aa/x%2Fy", "--kind", "state")
    assert len(out.read_text().splitlines()) == 10
    (tmp_path / "new.jsonl.partial").touch()
    assert "--resume goes on" in run("export", tmp_path / "new.jsonl", code=73).err
    run("export", tmp_path / "new.jsonl", "--resume")
    assert "needs a file" in run("export", "-", "--resume", code=64).err
    mapped = ("--as", "log", "--map", "log_id==l1")
    assert "without --as" in run("export", "-", *mapped, "--resume", code=64).err
