"""The crash oracle: random operations, crashes of every kind, and a model that knows what must be left.

`python -m bench crash --rounds 500` spreads the rounds over the layers of `layers.py`. A failure prints its seed and
keeps the store; `--layer NAME --seed SEED` plays the same operations, options and kinds of crash again.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import tempfile
import time
import traceback
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

from bench.crash import layers
from bench.crash.oracle import Plan, Tally, run_store
from bench.report import Report

ROUNDS_DEFAULT: Final = 500
ROUNDS_PER_STORE: Final = 12
SECONDS_MAX: Final = 690.0
# How the rounds of a run without --layer are spread.
_SHARES: Final = {"process": 0.5, "preload": 0.3, "ext4-shutdown": 0.15, "small-disk": 0.05}


class Outcome(NamedTuple):
    """One store's rounds: what they came to, or how they failed."""

    layer: str
    seed: str
    tally: Tally | None
    failure: str = ""
    unavailable: bool = False


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS_DEFAULT, help="rounds over all layers (default %(default)s)"
    )
    parser.add_argument("--layer", choices=sorted(layers.LAYERS), help="only this layer")
    parser.add_argument("--seed", help="play one store again")
    parser.add_argument("--jobs", type=int, default=2, help="stores worked on at once (default %(default)s)")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Run all stores, print failures as they come, report."""
    plan = _stores(arguments)
    give_up = time.monotonic() + (float("inf") if arguments.long else SECONDS_MAX)
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        pending: list[Future[Outcome]] = [
            pool.submit(episode, layer, seed, rounds, arguments.folder, give_up) for layer, seed, rounds in plan
        ]
        for done in as_completed(pending):
            outcome = done.result()
            outcomes.append(outcome)
            if outcome.failure:
                print(f"\n{outcome.layer}, seed {outcome.seed}:\n{outcome.failure}", flush=True)
    _report(report, outcomes, {layer for layer, _, _ in plan}, arguments)


def _stores(arguments: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Return layer, seed and rounds of each store, the layers mixed so that a short run sees all."""
    if arguments.seed:
        return [(arguments.layer or "process", arguments.seed, min(arguments.rounds, ROUNDS_PER_STORE))]
    start = random.SystemRandom().randrange(1 << 32)
    stores: list[tuple[float, str, str, int]] = []
    for layer, share in {arguments.layer: 1.0}.items() if arguments.layer else _SHARES.items():
        left = max(1, round(arguments.rounds * share))
        number = 0
        count = -(-left // ROUNDS_PER_STORE)
        while left > 0:
            rounds = min(left, ROUNDS_PER_STORE)
            stores.append((number / count, layer, f"{start:08x}-{layer}-{number}", rounds))
            left, number = left - rounds, number + 1
    return [(layer, seed, rounds) for _, layer, seed, rounds in sorted(stores)]


def episode(layer: str, seed: str, rounds: int, parent: Path, give_up: float) -> Outcome:
    """Run one store to its end, in a process of its own; the folder of a failure is kept and named."""
    seconds = give_up - time.monotonic()
    if seconds <= 0:
        return Outcome(layer, seed, None)
    folder = Path(tempfile.mkdtemp(prefix="crash-", dir=parent))
    try:
        tally = asyncio.run(run_store(seed, folder, Plan(layer), rounds, seconds))
    except layers.Unavailable as reason:
        print(f"{layer}: {reason}", flush=True)
        shutil.rmtree(folder)
        return Outcome(layer, seed, None, unavailable=True)
    except Exception:
        return Outcome(layer, seed, None, f"{traceback.format_exc(limit=-6)}\nthe store is kept in {folder}")
    shutil.rmtree(folder)
    return Outcome(layer, seed, tally)


def _report(report: Report, outcomes: list[Outcome], names: set[str], arguments: argparse.Namespace) -> None:
    tallies = [outcome.tally for outcome in outcomes if outcome.tally]
    demand = f">= {ROUNDS_DEFAULT}" if not (arguments.seed or arguments.layer) else None
    report.add("rounds survived", "all layers", unit="rounds", ours=sum(tally.rounds for tally in tallies), must=demand)
    for layer in sorted(names):
        here = [outcome for outcome in outcomes if outcome.layer == layer]
        done = [outcome.tally for outcome in here if outcome.tally]
        ran = any(tally.rounds for tally in done) or any(outcome.failure for outcome in here)
        failures = sum(bool(outcome.failure) for outcome in here)
        report.add("broken promises", layer, unit="stores", ours=failures if ran else None, must="== 0")
        if not done:
            continue
        report.add("rounds survived", layer, unit="rounds", ours=sum(tally.rounds for tally in done))
        for name in ("writes", "async_writes", "refused", "resent", "async_lost", "reads", "recoveries"):
            report.add(name.replace("_", " "), layer, ours=sum(getattr(tally, name) for tally in done))
        report.add("recovery, longest", layer, unit="s", ours=max(tally.recovery_s_max for tally in done))
        notes: dict[str, int] = {}
        for tally in done:
            for what, count in tally.notes.items():
                notes[what] = notes.get(what, 0) + count
        for what, count in sorted(notes.items()):
            report.add(what, layer, ours=count)
