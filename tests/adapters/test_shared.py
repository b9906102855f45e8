"""What the adapters share: calls that are cancelled, logs that change while they are read, errors in others' terms."""

from __future__ import annotations

import asyncio
import threading

import pytest

from recollectd.adapters.failures import translated
from recollectd.adapters.newest import Rewritten, backwards, newest
from recollectd.adapters.texts import json_text
from recollectd.adapters.waiting import read, write
from recollectd.client import Client
from recollectd.protocol import errors


class Slow:
    """A blocking call that ends when it is told to."""

    def __init__(self, outcome: Exception | str) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.outcome = outcome

    def __call__(self) -> str:
        self.began.set()
        self.may_end.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize("outcome", ["done", ValueError("failed")])
async def test_a_write_that_is_cancelled_is_waited_for(outcome: Exception | str) -> None:
    slow = Slow(outcome)
    task = asyncio.create_task(write(slow))
    await asyncio.to_thread(slow.began.wait)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    slow.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_read_that_is_cancelled_is_left() -> None:
    slow = Slow("done")
    task = asyncio.create_task(read(slow))
    await asyncio.to_thread(slow.began.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    slow.may_end.set()


async def test_a_write_returns_and_raises_what_the_call_does() -> None:
    done, failed = Slow("done"), Slow(ValueError("failed"))
    done.may_end.set()
    failed.may_end.set()
    assert await write(done) == "done"
    with pytest.raises(ValueError, match="failed"):
        await write(failed)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.InvalidArgument("bad", field="key"), ValueError),
        (errors.TooLarge("large"), ValueError),
        (errors.DaemonUnavailable("away"), OSError),
        (errors.RequestTimeout("late"), OSError),
        (errors.InternalError("defect"), OSError),
    ],
)
def test_errors_are_told_in_others_terms(error: errors.RecollectdError, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=error.message) as told, translated(ValueError, OSError):
        raise error
    assert told.value.__cause__ is error


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), translated(ValueError, OSError):
        raise KeyError("theirs")


@pytest.mark.parametrize("count", [None, 0, 1, 3, 10, 11])
def test_the_newest_items_come_in_order(client: Client, count: int | None) -> None:
    client.logs.append("log", range(10))
    values = [item.value for item in newest(client.logs, "log", count)]
    assert values == list(range(10))[10 - min(10, 10 if count is None else count) :]
    assert newest(client.logs, "nowhere", count) == []


def test_items_that_fill_several_pages_are_all_read(client: Client) -> None:
    for start in range(0, 20_000, 5_000):
        client.logs.append("log", range(start, start + 5_000))
    assert [item.value for item in newest(client.logs, "log")] == list(range(20_000))
    large = ["x" * 1_000_000 + str(number) for number in range(9)]
    client.logs.append("large", large)
    assert [item.value for item in newest(client.logs, "large", 8)] == large[1:]


@pytest.mark.parametrize("refilled", [0, 3, 20])
def test_a_log_that_is_begun_anew_meanwhile_is_noticed(client: Client, refilled: int) -> None:
    client.logs.append("log", range(10))
    walk = backwards(client.logs, "log", page_items=5)
    assert [next(walk).value for _ in range(5)] == [9, 8, 7, 6, 5]
    client.logs.delete("log")
    if refilled:
        client.logs.append("log", range(100, 100 + refilled))
    with pytest.raises(Rewritten):
        next(walk)


def test_what_is_appended_meanwhile_does_not_matter(client: Client) -> None:
    client.logs.append("log", range(10))
    walk = backwards(client.logs, "log", page_items=5)
    first = [next(walk).value for _ in range(5)]
    client.logs.append("log", range(10, 20))
    assert first + [item.value for item in walk] == list(range(9, -1, -1))


def test_json_is_readable_where_it_can_be() -> None:
    assert json_text({"a": "é😀"}) == '{"a": "é😀"}'
    assert json_text("\ud83d") == '"\\ud83d"'
    with pytest.raises(TypeError):
        json_text(object())
