"""`python -m bench report FILE.json ...`: one page of tables and plots, and a Markdown document of the same rows.

The page holds everything it needs: no script, no font, no picture from elsewhere.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import msgspec

from bench import plots
from bench.report import Row, figure

_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; font-size: 13px; margin: .6em 0 1.6em } th { text-align: left; background: #f1f4f6 }
td, th { padding: 3px 9px; border-bottom: 1px solid #e2e6e9; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums } .yes { color: #1b7f4b } .no { color: #b3261e }
svg { font: 12px system-ui, sans-serif; display: block; margin: .4em 0 1.4em } .axis { stroke: #999; fill: none }
.mark { stroke: #b3261e; stroke-dasharray: 4 3 } summary { cursor: pointer; color: #2a6f97 } h3 { margin-top: 1.6em }
"""
_HEADS: Final = ("measure", "case", "ours", "unit", "theirs", "peer", "ratio", "must", "met")
_NUMBERS: Final = frozenset({"ours", "theirs", "ratio"})
_LEADING_NUMBER: Final = re.compile(r"([\d,]+) (\w+)")
_METHOD: Final = Path(__file__).with_name("method.md")


class Document(msgspec.Struct):
    """What a bench wrote."""

    machine: dict[str, Any]
    versions: dict[str, str]
    rows: list[Row]

    @property
    def command(self) -> str:
        """How the bench was called; empty where it was not noted."""
        return str(self.machine.get("command", ""))


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="+", type=Path, metavar="JSON", help="what benches wrote with --json")
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="the page (default %(default)s)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the same as Markdown (bench/RESULTS.md)")


def render(arguments: argparse.Namespace) -> int:
    """Write the page, and the Markdown if asked for."""
    documents = {path.stem: msgspec.json.decode(path.read_bytes(), type=Document) for path in arguments.files}
    arguments.output.write_text(page(documents))
    print(arguments.output)
    if arguments.markdown:
        arguments.markdown.write_text(markdown(documents))
        print(arguments.markdown)
    return 0


def page(documents: dict[str, Document]) -> str:
    """Return the whole page."""
    parts = ["<!doctype html><html lang='en'><meta charset='utf-8'><title>recollectd benches</title>"]
    parts.append(f"<style>{_STYLE}</style><h1>recollectd benches</h1>")
    demanded = [(name, row) for name, document in documents.items() for row in document.rows if row.must]
    met = sum(bool(row.met) for _, row in demanded)
    if demanded:
        parts.append(f"<h2>Demands: {met} of {len(demanded)} met</h2>")
        parts.append(_table([row for _, row in demanded], [name for name, _ in demanded]))
    for name, document in documents.items():
        parts.append(f"<h2>{escape(name)}</h2>{_facts(document)}")
        parts += _comparisons(document.rows)
        parts += _growth(document.rows)
        parts.append(f"<details><summary>all {len(document.rows)} rows</summary>{_table(document.rows)}</details>")
    return "\n".join(parts) + "\n</html>\n"


def _facts(document: Document) -> str:
    machine = _machine(document.machine)
    versions = ", ".join(f"{name} {version}" for name, version in document.versions.items())
    command = f"<br><code>{escape(document.command)}</code>" if document.command else ""
    return f"<p>{escape(machine)}<br>{escape(versions)}{command}</p>"


def _machine(facts: dict[str, Any]) -> str:
    raw = facts.get("raw_fdatasync_ms", {})
    return (
        f"{facts.get('cpu')}, {facts.get('cores')} cores, {facts.get('memory_bytes', 0) / 2**30:.0f} GiB, "
        f"Linux {facts.get('kernel')}, {facts.get('file_system')}; raw fdatasync when quiet: "
        f"p50 {raw.get('p50', 0):.2f} ms, p99 {raw.get('p99', 0):.2f} ms"
    )


def _cells(row: Row) -> dict[str, str]:
    verdict = {None: "", True: "yes", False: "NO"}[row.met]
    return {
        "measure": row.measure,
        "case": row.case,
        "ours": figure(row.ours),
        "unit": row.unit,
        "theirs": figure(row.theirs) if row.theirs is not None else "",
        "peer": row.peer or "",
        "ratio": figure(row.ratio) if row.ratio is not None else "",
        "must": row.must or "",
        "met": verdict,
    }


def _table(rows: Sequence[Row], benches: Sequence[str] = ()) -> str:
    heads = ("bench", *_HEADS) if benches else _HEADS
    lines = ["<table><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for at, row in enumerate(rows):
        cells = _cells(row)
        line = f"<td>{escape(benches[at])}</td>" if benches else ""
        for head in _HEADS:
            kind = (
                "n" if head in _NUMBERS else {"yes": "yes", "NO": "no"}.get(cells["met"], "") if head == "met" else ""
            )
            line += f'<td class="{kind}">{escape(cells[head])}</td>'
        lines.append(f"<tr>{line}</tr>")
    return "\n".join(lines) + "</table>"


def _comparisons(rows: Iterable[Row]) -> list[str]:
    """Return a plot for each measure that has a peer's figure beside ours."""
    measures: dict[tuple[str, str], dict[str, list[tuple[str, float]]]] = defaultdict(dict)
    for row in rows:
        if row.ours is None or row.theirs is None or row.peer is None:
            continue
        group = measures[row.measure.strip(), row.unit].setdefault(row.case, [("recollectd", row.ours)])
        group.append((row.peer, row.theirs))
    return [
        f"<h3>{escape(measure)}, {escape(unit)}</h3>{plots.bars(list(groups.items()), unit)}"
        for (measure, unit), groups in measures.items()
    ]


def _growth(rows: Iterable[Row]) -> list[str]:
    """Return a plot for each family of measures whose cases begin with a number: "10,000 states"."""
    found: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        match = _LEADING_NUMBER.match(row.case)
        if match and row.ours is not None and row.peer is None and row.unit:
            found[match[2], row.unit][row.measure.strip()].append((float(match[1].replace(",", "")), row.ours))
    return [
        f"<h3>by {escape(what)}, {escape(unit)}</h3>{plots.lines(series, what, unit)}"
        for (what, unit), series in found.items()
        if any(len({x for x, _ in line}) > 1 for line in series.values())
    ]


def markdown(documents: dict[str, Document]) -> str:
    """Return the document: method and bias as they are written by hand, then each bench's machine and rows."""
    parts = [_METHOD.read_text().rstrip(), "", "# Figures", ""]
    for name, document in documents.items():
        versions = ", ".join(f"{package} {version}" for package, version in document.versions.items())
        parts += [f"## {name}", ""]
        parts += [f"- Machine: {_machine(document.machine)}", f"- Versions: {versions}"]
        parts += [f"- Command: `{document.command}`"] if document.command else []
        parts += [
            "",
            "| " + " | ".join(_HEADS) + " |",
            "|" + "|".join("--:" if h in _NUMBERS else "---" for h in _HEADS) + "|",
        ]
        for row in document.rows:
            cells = _cells(row)
            parts.append("| " + " | ".join(cells[head].replace("|", "\\|") for head in _HEADS) + " |")
        parts.append("")
    return "\n".join(parts)
