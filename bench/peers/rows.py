"""From samples to rows: medians beside each other, ratios within rounds, and the demands on them."""

from __future__ import annotations

import statistics
from typing import Final, NamedTuple

from bench.report import Report


class Sample(NamedTuple):
    """One window: CPU of the server in microseconds per operation, operations per second, latencies in ms."""

    cpu_us: float
    per_second: float
    p50_ms: float
    p99_ms: float
    generator_us: float


Shape = tuple[int, int]
Samples = dict[tuple[str, str, Shape], list[Sample]]  # by server, kind of work and shape; one for each round

_TITLES: Final = {"get": "cached get", "put": "synced put", "append": "synced append", "last": "read of the last 10"}
_CPU_MUST: Final = {
    ("get", "redis"): ("<= 1.1", "<= 1.0", "<= 0.9"),
    ("put", "redis"): ("<= 1.2", "<= 2.0", "<= 2.5"),
}
_EVERYSEC_MUST: Final = (">= 0.65", ">= 0.5", ">= 0.35")
_STREAMS_MUST: Final = ">= 1.0"
_PER_CORE_MUST: Final = ">= 5"
_DEMANDED: Final = ("redis always", "redis everysec", "postgres", "sqlite")
_LOGS: Final = ("append", "last")


def add_rows(report: Report, samples: Samples, deep: int, present: list[str], asked: list[str]) -> None:
    """Add every comparison; a demanded one whose peer is missing gets a row too, not met."""
    shapes = sorted({shape for _, _, shape in samples}, key=lambda shape: shape[0] * shape[1])
    kinds = [kind for kind in _TITLES if ("recollectd", kind, shapes[0]) in samples]
    for kind in kinds:
        for at, shape in enumerate(shapes):
            case = f"{shape[0]} x {shape[1]}" + (f", {deep:,} keys" if kind == "put" else "")
            mine = samples["recollectd", kind, shape]
            _ours(report, kind, case, mine)
            for peer in present:
                if theirs := samples.get((peer, kind, shape)) if peer != "recollectd" else None:
                    _compare(report, kind, case, peer, mine, theirs)
            for peer in sorted({*_DEMANDED, *present} - {"recollectd"}):
                if peer.split()[0] in asked:
                    _demand(report, kind, at, case, peer, mine, samples.get((peer, kind, shape)))


def _median(samples: list[Sample], field: str) -> float:
    return float(statistics.median(getattr(sample, field) for sample in samples))


def _ratio(mine: list[Sample], theirs: list[Sample], field: str) -> float | None:
    """Return the median of the ratios within the rounds; None where a peer's figure is too small to be read."""
    pairs = [(getattr(a, field), getattr(b, field)) for a, b in zip(mine, theirs, strict=True)]
    return statistics.median(a / b for a, b in pairs) if all(b for _, b in pairs) else None


def _ours(report: Report, kind: str, case: str, mine: list[Sample]) -> None:
    title = _TITLES[kind]
    report.add(f"{title}: generator CPU per operation", case, unit="us", ours=_median(mine, "generator_us"))


def _compare(report: Report, kind: str, case: str, peer: str, mine: list[Sample], theirs: list[Sample]) -> None:
    title = _TITLES[kind]
    fields = (
        ("server CPU per operation", "cpu_us", "us"),
        ("throughput", "per_second", "1/s"),
        ("p50", "p50_ms", "ms"),
        ("p99", "p99_ms", "ms"),
    )
    for label, field, unit in fields:
        ours, other = _median(mine, field), _median(theirs, field)
        report.add(f"{title}: {label}", case, unit=unit, ours=ours, theirs=other, peer=peer)
    report.add(
        f"{title}: generator CPU per operation on the peer",
        case,
        unit="us",
        ours=_median(theirs, "generator_us"),
        peer=peer,
    )


def _demand(
    report: Report, kind: str, at: int, case: str, peer: str, mine: list[Sample], theirs: list[Sample] | None
) -> None:
    title, server = _TITLES[kind], peer.split()[0]
    if peer == "redis always" and (kind, server) in _CPU_MUST:
        must = _CPU_MUST[kind, server][at]
        _ratio_row(report, f"{title}: ratio of server CPU", case, peer, mine, theirs, "cpu_us", must)
    elif peer == "redis everysec" and kind == "put":
        must = _EVERYSEC_MUST[at]
        # A throughput that the generator limits says nothing: then the demand is not met.
        cheap = _median(mine, "generator_us") < _median(mine, "cpu_us")
        if theirs:
            cheap = cheap and _median(theirs, "generator_us") < _median(theirs, "cpu_us")
        title += ": ratio of throughput" + ("" if cheap else " (the generator is dearer than a server)")
        _ratio_row(report, title, case, peer, mine, theirs if cheap else None, "per_second", must)
    elif peer == "redis always" and kind in _LOGS:
        title += ": ratio of throughput, streams"
        _ratio_row(report, title, case, peer, mine, theirs, "per_second", _STREAMS_MUST)
    elif server in ("postgres", "sqlite"):
        must_per_core = _PER_CORE_MUST if kind in _LOGS else None
        # Operations per second of CPU: the ratio of costs upside down.
        ratio = _ratio(theirs, mine, "cpu_us") if theirs else None
        report.add(f"{title}: ratio of operations per core", case, unit="x", ours=ratio, peer=peer, must=must_per_core)


def _ratio_row(
    report: Report,
    measure: str,
    case: str,
    peer: str,
    mine: list[Sample],
    theirs: list[Sample] | None,
    field: str,
    must: str,
) -> None:
    ratio = _ratio(mine, theirs, field) if theirs else None
    report.add(measure, case, unit="x", ours=ratio, peer=peer, must=must)
