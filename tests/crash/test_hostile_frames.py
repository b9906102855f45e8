"""Thousands of hostile frames, on the parser and on a daemon; `python -m bench fuzz --long` sends millions."""

from __future__ import annotations

import random
from pathlib import Path

from bench.fuzz import answers, fuzz_daemon, fuzz_parser
from bench.process import DaemonProcess


def test_the_parser_accepts_what_is_right_and_names_what_is_wrong() -> None:
    seed = random.randrange(1 << 32)
    counts = fuzz_parser(random.Random(seed), 30_000)
    assert not counts.wrong, f"seed {seed}"
    assert min(counts.accepted, counts.refused, counts.unframed) > 100, "the frames are not mixed"


def test_a_daemon_lives_through_hostile_frames(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    with DaemonProcess(tmp_path) as daemon:
        daemon.start()
        fuzz_daemon(daemon, random.Random(seed), 3_000)
        assert answers(daemon), f"seed {seed}"
        assert "Traceback" not in daemon.log.read_text(), f"seed {seed}"
