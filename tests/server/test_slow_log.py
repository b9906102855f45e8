"""The slow log tells of slow requests in a bounded number of lines."""

from __future__ import annotations

import logging

import pytest

from recollectd.server.slow import LINES_PER_S_MAX, SlowLog


def test_a_hold_up_of_thousands_is_told_in_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    slow = SlowLog(lambda: now[0], threshold_ms=100)
    with caplog.at_level(logging.WARNING):
        slow.note("StateGet", 0.1)
        assert caplog.messages == []
        for number in range(5_000):
            slow.note("StatePut", 0.2 + number / 10_000)
        assert caplog.messages == [
            f"slow: StatePut took {200 + number / 10:.0f} ms" for number in range(LINES_PER_S_MAX)
        ]
        caplog.clear()
        now[0] += 1
        slow.note("StateGet", 0.3)
    assert caplog.messages == ["slow: 4990 more requests, up to 700 ms", "slow: StateGet took 300 ms"]


def test_no_threshold_is_none() -> None:
    assert SlowLog(lambda: 0.0, threshold_ms=0).threshold_s == float("inf")
