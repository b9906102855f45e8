"""Plots as SVG text: bars beside each other, and lines on logarithmic axes. No library, nothing fetched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

COLOURS: Final = ("#2a6f97", "#e07a5f", "#81b29a", "#b08968", "#6d597a", "#8d99ae", "#d4a017")
_WIDTH: Final = 760
_LABEL_WIDTH: Final = 330
_BAR: Final = 15
_GAP: Final = 9
_CHART_HEIGHT: Final = 300
_MARGIN: Final = 60
_TICK_LENGTH: Final = 5


def figure(number: float) -> str:
    """Return a number as a label has it: three digits that count."""
    if number and abs(number) < 0.01:
        return f"{number:.2g}"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def bars(groups: Sequence[tuple[str, Sequence[tuple[str, float]]]], unit: str, mark: float | None = None) -> str:
    """Return horizontal bars: groups of (label, [(series, value)]); mark: a demanded value, drawn as a line."""
    values = [value for _, group in groups for _, value in group]
    if not values:
        return ""
    longest = max([*values, mark or 0.0]) or 1.0
    room = _WIDTH - _LABEL_WIDTH - 90
    names = list(dict.fromkeys(name for _, group in groups for name, _ in group))
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)}
    parts, y = _legend(colours), 26.0
    for label, group in groups:
        middle = y + len(group) * _BAR / 2 + 4
        parts.append(f'<text x="{_LABEL_WIDTH - 8}" y="{middle:.0f}" text-anchor="end">{escape(label)}</text>')
        for name, value in group:
            width = max(1.0, room * value / longest)
            parts.append(
                f'<rect x="{_LABEL_WIDTH}" y="{y:.0f}" width="{width:.1f}" height="{_BAR - 2}" fill="{colours[name]}">'
                f"<title>{escape(name)}: {figure(value)} {escape(unit)}</title></rect>"
                f'<text x="{_LABEL_WIDTH + width + 4:.0f}" y="{y + 11:.0f}">{figure(value)}</text>'
            )
            y += _BAR
        y += _GAP
    if mark is not None:
        x = _LABEL_WIDTH + room * mark / longest
        parts.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="22" y2="{y:.0f}" class="mark"/>')
    return _svg(parts, y + 4)


def _legend(colours: Mapping[str, str]) -> list[str]:
    parts, x = [], 4.0
    for name, colour in colours.items():
        parts.append(f'<rect x="{x:.0f}" y="4" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14:.0f}" y="13">{escape(name)}</text>')
        x += 30 + 6.6 * len(name)
    return parts


def lines(series: Mapping[str, Sequence[tuple[float, float]]], x_unit: str, y_unit: str) -> str:
    """Return lines of (x, y) points, x logarithmic, y from zero."""
    points = [point for line in series.values() for point in line if point[0] > 0]
    if not points:
        return ""
    low, high = math.log10(min(x for x, _ in points)), math.log10(max(x for x, _ in points))
    top = max(y for _, y in points) or 1.0
    width, height = _WIDTH - 2 * _MARGIN, _CHART_HEIGHT - 2 * _MARGIN

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low) / (high - low) if high > low else 0.5
        return _MARGIN + across * width, _CHART_HEIGHT - _MARGIN - y / top * height

    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(series)}
    parts = _legend(colours)
    base = _CHART_HEIGHT - _MARGIN
    parts.append(f'<path d="M{_MARGIN} {_MARGIN}V{base}H{_MARGIN + width}" class="axis"/>')
    for x in sorted({x for x, _ in points}):
        at, _ = place(x, 0)
        parts.append(f'<path d="M{at:.0f} {base}v{_TICK_LENGTH}" class="axis"/>')
        parts.append(f'<text x="{at:.0f}" y="{base + 18}" text-anchor="middle">{figure(x)}</text>')
    for share in (0.0, 0.5, 1.0):
        _, at = place(10**low, top * share)
        parts.append(f'<text x="{_MARGIN - 6}" y="{at + 4:.0f}" text-anchor="end">{figure(top * share)}</text>')
    parts.append(f'<text x="{_MARGIN}" y="{_MARGIN - 12}">{escape(y_unit)}</text>')
    parts.append(f'<text x="{_MARGIN + width}" y="{base + 36}" text-anchor="end">{escape(x_unit)}</text>')
    for name, line in series.items():
        placed = [place(x, y) for x, y in line if x > 0]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colours[name]}"/>' for x, y in placed]
    return _svg(parts, _CHART_HEIGHT)


def _svg(parts: Sequence[str], height: float) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" role="img">{"".join(parts)}</svg>'
