"""Turns of the scheduler are a thread's own, and kept as they were where a kernel has none."""

from __future__ import annotations

import threading

from recollectd._native import scheduling


def test_a_thread_takes_short_turns_by_itself() -> None:
    before = scheduling.turn_of()
    told: list[tuple[bool, int]] = []

    def ask() -> None:
        told.append((scheduling.take_turns_of(200), scheduling.turn_of()))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    granted, turn_us = told[0]
    assert granted == (turn_us == 200)
    assert granted or turn_us == before
    assert scheduling.turn_of() == before
