"""`python -m bench large`, small: its daemon is filled, killed while it merges, started again, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report import Report
from bench.vectors import large

ROWS = 3_000
# Small, so that merges begin early and graphs are searched.
OPTIONS = {"server.vector_flush_rows": 1_024, "server.vector_exact_rows_max": 1_000}


def test_a_large_space_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "ADDED_BEFORE_KILL_MIN", 1_024)
    monkeypatch.setattr(large, "PARKED_WAIT_S", 0.0)
    monkeypatch.setattr(large, "LEARNING_ROUNDS_MAX", 1)
    monkeypatch.setattr(large, "QUERIES", 300)
    report = Report("large")
    large.measure(tmp_path, ROWS, report, OPTIONS)
    rows = {row.measure: row for row in report.rows}
    assert rows["not found by their vectors"].met
    assert rows["missing of all that were acknowledged"].ours == 0
    assert (rows["  of so many"].ours or 0) > 0, "nothing was being merged when it was killed"
    assert (rows["recall@10, the daemon's own effort"].ours or 0) > 0.5
    for measure in (
        "files: graphs",
        "files: vectors at full precision",
        "resident memory",
        "start until the first search",
    ):
        assert (rows[measure].ours or 0) > 0
    assert list(tmp_path.iterdir()) == []
