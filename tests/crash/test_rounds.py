"""A few rounds of the crash oracle, on every layer that needs no privileges; `python -m bench crash` runs hundreds."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from bench.crash.oracle import Plan, run_store

ROUNDS = 2
TIMEOUT_S = 90.0


@pytest.mark.parametrize("layer", ["process", "preload"])
def test_rounds(layer: str, tmp_path: Path) -> None:
    seed = f"{random.randrange(1 << 32):08x}"
    print(f"seed {seed}: python -m bench crash --layer {layer} --seed {seed}")
    tally = asyncio.run(run_store(seed, tmp_path, Plan(layer, seconds=(0.1, 0.3)), ROUNDS, TIMEOUT_S))
    assert tally.rounds == ROUNDS
    assert tally.writes > 10
    assert tally.recoveries == 1 + 2 * ROUNDS
