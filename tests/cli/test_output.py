"""How results are printed, and when progress is."""

from __future__ import annotations

import io
from typing import Any

import click
import msgspec
import pytest

from recollectd.cli import output
from recollectd.cli.progress import confirm, progress_bar
from recollectd.client.reading import StateRecord
from recollectd.client.results import Message, Page, Record


def test_results_become_json_without_what_is_not_set() -> None:
    message = Message("m", "user", "hi", "2026-01-01T00:00:00.000000Z")
    assert output.plain(message) == {
        "message_id": "m",
        "role": "user",
        "content": "hi",
        "timestamp": "2026-01-01T00:00:00.000000Z",
    }
    with_metadata = msgspec.structs.replace(message, metadata={"raw": b"\x00"})
    assert output.plain(with_metadata)["metadata"] == {"raw": {"$bytes": "AA=="}}
    record = Record(StateRecord("k", {1: b""}, 1, 0, 1_500_000, None, 7))
    assert output.plain(Page([record], b"c"))["records"] == [
        {
            "key": "k",
            "value": {"$map": [[1, {"$bytes": ""}]]},
            "version": 1,
            "created_at": "1970-01-01T00:00:00.000000Z",
            "updated_at": "1970-01-01T00:00:01.500000Z",
            "expires_at": None,
        }
    ]


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table([("a", 5), ("long name", 12345)], ("name", "count"))
    assert capsys.readouterr().out == "name       count\na              5\nlong name  12345\n"
    output.print_table([], ("name", "count"))
    assert capsys.readouterr().out == "name  count\n"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (64 << 20, "64.0 MiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes(number: int, text: str) -> None:
    assert output.size(number) == text


def test_numbers_with_their_nouns() -> None:
    assert output.count(1, "line") == "1 line"
    assert output.count(4124, "line") == "4,124 lines"
    assert output.count(2, "batch", "batches") == "2 batches"


def test_lines_are_cut_to_the_width() -> None:
    assert output.one_line(["x" * 50], 10) == '["xxxxxxx…'
    assert output.one_line([1], 10) == "[1]"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("total", "shown"), [(10, "100%"), (None, "working  10\n")])
def test_progress_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch, total: int | None, shown: str) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress_bar("working", total) as bar:
        bar.reach(10)
    assert "working" in terminal.getvalue()
    assert shown in terminal.getvalue()


def test_without_a_terminal_there_is_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("working", 10) as bar:
        bar.reach(5)
    assert capsys.readouterr() == ("", "")


def test_questions_need_somebody_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Any = Terminal("y\nn\n")
    monkeypatch.setattr("sys.stdin", answers)
    confirm("delete?")
    with pytest.raises(click.Abort):
        confirm("delete?")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(click.UsageError, match="--yes"):
        confirm("delete?")


@pytest.mark.parametrize(
    ("terminal", "most", "wanted"), [(0, 0, 0), (0, 60, 60), (80, 0, 64), (80, 60, 60), (30, 0, 20)]
)
def test_the_last_column_has_what_is_left(
    monkeypatch: pytest.MonkeyPatch, terminal: int, most: int, wanted: int
) -> None:
    monkeypatch.setattr(output, "line_width", lambda: terminal)
    left = output.width_left(("name", "kind of", "text"), [("12345", "x", "a text")], most=most)
    assert left == wanted


def test_what_would_steer_a_terminal_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table([("a\x1b[2J\r\u202eb",)], ("name",))
    assert capsys.readouterr().out == "name\na\ufffd[2J\ufffd\ufffdb\n"


def test_texts_are_cut_to_a_line() -> None:
    assert output.shortened("a\n  b", 0) == "a b"
    assert output.shortened("abcdef", 4) == "abc…"
    assert output.shortened("abcd", 4) == "abcd"
