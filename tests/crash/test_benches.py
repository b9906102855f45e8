"""What the benches stand on: demands and their verdicts, the report's file, the mutations' anchors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.latency import percentiles
from bench.machine import ROOT
from bench.mutations import AnchorMissing, changed
from bench.mutations.specs import MUTATIONS, Mutation
from bench.report import Report, met


@pytest.mark.parametrize(
    ("ours", "must", "verdict"),
    [
        (60, "<= 60", True),
        (61, "<= 60", False),
        (10, "< 10", False),
        (10_000, ">= 10000", True),
        (9_999.9, ">= 10000", False),
        (0.9, "> 0.9", False),
        (0, "== 0", True),
        (None, "== 0", False),
        (None, None, None),
        (5, None, None),
    ],
)
def test_demands(ours: float | None, must: str | None, verdict: bool | None) -> None:
    assert met(ours, must) is verdict


@pytest.mark.parametrize("must", ["60", "~ 60", "<=60", "<= many"])
def test_a_demand_that_is_none_is_refused(must: str) -> None:
    with pytest.raises(ValueError, match=r"demand reads|could not convert"):
        met(1, must)


def test_a_report_says_everything_in_one_file(tmp_path: Path) -> None:
    report = Report("test")
    report.add("speed", "case", unit="1/s", ours=10.0, theirs=4.0, peer="other", must=">= 5")
    report.add("not run", must="<= 1")
    report.write(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert set(written) == {"machine", "versions", "rows"}
    assert written["rows"][0] == {
        "measure": "speed",
        "case": "case",
        "peer": "other",
        "unit": "1/s",
        "ours": 10.0,
        "theirs": 4.0,
        "ratio": 2.5,
        "must": ">= 5",
        "met": True,
    }
    assert written["rows"][1]["ours"] is None
    assert written["rows"][1]["met"] is False
    assert report.failed
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_percentiles_are_in_milliseconds() -> None:
    found = percentiles([1_000.0 * number for number in range(1, 101)])
    assert (found.samples, found.p50, found.longest) == (100, 50.5, 100.0)
    assert percentiles([]).samples == 0


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_a_mutation_still_fits_its_source(mutation: Mutation) -> None:
    for change in mutation.replacements:
        assert changed(change.path, ROOT, change.anchor, change.instead) != (ROOT / change.path).read_text()


def test_an_anchor_that_is_gone_is_said() -> None:
    with pytest.raises(AnchorMissing, match="0 times"):
        changed("pyproject.toml", ROOT, "no such text", "")
