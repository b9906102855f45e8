"""Rows of figures: one shape for every bench, one function that says whether a demand is met.

`python -m bench NAME --json FILE` writes {"machine", "versions", "rows": [...]}. A row's fields:

    measure  what was measured                      case    under which circumstances
    peer     what it is compared with, or null      unit    of ours and theirs
    ours     the figure, or null: not run           theirs  the peer's figure, or null
    ratio    ours / theirs, or null                 must    the demand: a comparison and a number, or null
    met      whether ours fulfils must; null where nothing is demanded

`must` reads "<= 60", "< 10", ">= 10000", "> 0.9" or "== 0": the number is the demanded one, in the row's unit. A case
that was not run has ours null and, if something is demanded, met false.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}


class Row(msgspec.Struct, frozen=True):
    """One figure."""

    measure: str
    case: str
    peer: str | None
    unit: str
    ours: float | None
    theirs: float | None
    ratio: float | None
    must: str | None
    met: bool | None


def met(ours: float | None, must: str | None) -> bool | None:
    """Return whether a figure fulfils a demand; None where nothing is demanded. Raises ValueError for a bad demand."""
    if must is None:
        return None
    comparison, _, number = must.partition(" ")
    if comparison not in _COMPARISONS:
        raise ValueError(f"a demand reads '<= 60', not {must!r}")
    limit = float(number)
    return ours is not None and _COMPARISONS[comparison](ours, limit)


class Report:
    """Collects the rows of one bench and what they were measured on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[Row] = []
        self.machine: dict[str, Any] = {}
        self.versions: dict[str, str] = {}

    def add(
        self,
        measure: str,
        case: str = "",
        *,
        unit: str = "",
        ours: float | None = None,
        theirs: float | None = None,
        peer: str | None = None,
        must: str | None = None,
    ) -> Row:
        """Add a row; ratio and met are computed here and nowhere else."""
        ratio = ours / theirs if ours is not None and theirs else None
        row = Row(measure, case, peer, unit, ours, theirs, ratio, must, met(ours, must))
        self.rows.append(row)
        return row

    @property
    def failed(self) -> bool:
        """Whether a demand was not met."""
        return any(row.met is False for row in self.rows)

    def write(self, path: Path) -> None:
        """Write the report as JSON: whole or not at all."""
        document = {"machine": self.machine, "versions": self.versions, "rows": self.rows}
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with aside.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)

    def show(self) -> None:
        """Print the rows as a table."""
        head = ("measure", "case", "ours", "unit", "theirs", "peer", "ratio", "must", "met")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        numbers = {2, 4, 6}
        for line in lines:
            cells = (
                cell.rjust(width) if column in numbers else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            print("  ".join(cells).rstrip())


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {None: "", True: "yes", False: "NO"}[row.met]
    ours, theirs, ratio = (figure(number) for number in (row.ours, row.theirs, row.ratio))
    return (row.measure, row.case, ours, row.unit, theirs, row.peer or "", ratio, row.must or "", verdict)


def figure(number: float | None) -> str:
    """Return a number as people read it."""
    if number is None:
        return "-"
    if number == int(number):
        return f"{int(number):,}"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
