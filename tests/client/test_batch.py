"""Writes in one frame, each on its own."""

from __future__ import annotations

from typing import Any

import pytest

from client.conftest import Drive
from client.fake import FakeDaemon, refuse
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.transactions import Batch


def test_a_batch_is_one_request_with_all_results(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        batch = driver.client.batch()

        def body(entered: Any) -> list[Any]:
            handles = [entered.state.put("k", 1), entered.with_namespace("other").logs.append("log", [1, 2])]
            with pytest.raises(errors.InvalidArgument, match="end of its `with` block"):
                handles[0].result()
            assert daemon.received == []
            return handles

        handles = driver.within(batch, body)
    assert len(daemon.of_type(Batch)) == len(daemon.received) == 1
    assert handles[0].result() == 1
    assert handles[1].result().next == 2
    assert batch.results == [handle.result() for handle in handles]


def test_refused_operations_do_not_stop_the_others(daemon: FakeDaemon, drive: Drive) -> None:
    def body(batch: Any) -> list[Any]:
        return [batch.state.put("a", 1), batch.state.put("b", 1, if_version=9), batch.state.put("c", 1)]

    with drive(daemon) as driver:
        with pytest.raises(errors.VersionConflict):
            driver.within(driver.client.batch(), body)
        batch = driver.client.batch(raises=False)
        first, refused, last = driver.within(batch, body)
    assert first.result() == last.result() == 2
    assert isinstance(refused.exception(), errors.VersionConflict)
    assert isinstance(batch.results[1], errors.VersionConflict)


def test_an_empty_batch_sends_nothing(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        batch = driver.client.batch()
        driver.within(batch, lambda entered: None)
        assert batch.results == []
    assert daemon.received == []


def test_an_exception_inside_sends_nothing(daemon: FakeDaemon, drive: Drive) -> None:
    def body(batch: Any) -> None:
        batch.state.put("k", 1)
        raise ZeroDivisionError

    with drive(daemon) as driver, pytest.raises(ZeroDivisionError):
        driver.within(driver.client.batch(), body)
    assert daemon.received == []


def test_the_error_of_the_whole_is_the_error_of_each(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.script = lambda received: refuse(errors.TooLarge("a commit over its limit"))
    handles: list[Any] = []
    with drive(daemon) as driver, pytest.raises(errors.TooLarge):
        driver.within(driver.client.batch(), lambda batch: handles.append(batch.state.put("k", 1)))
    with pytest.raises(errors.TooLarge):
        handles[0].result()


@pytest.mark.parametrize(
    "call",
    [
        lambda batch: batch.state.get("k"),
        lambda batch: batch.state.scan(),
        lambda batch: batch.state.delete_prefix("k"),
        lambda batch: batch.logs.pop_last("log"),
        lambda batch: batch.ping(),
    ],
)
def test_what_is_no_operation_is_refused(daemon: FakeDaemon, drive: Drive, call: Any) -> None:
    with drive(daemon) as driver, pytest.raises(errors.InvalidArgument):
        driver.within(driver.client.batch(), call)
    assert daemon.received == []


def test_a_batch_has_a_bound_and_an_end(daemon: FakeDaemon, drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OPERATIONS_PER_FRAME_MAX", 2)
    with drive(daemon) as driver:
        batch = driver.client.batch()

        def body(entered: Any) -> None:
            entered.state.put("a", 1)
            entered.state.put("b", 1)
            with pytest.raises(errors.TooLarge):
                entered.state.put("c", 1)

        driver.within(batch, body)
        with pytest.raises(errors.InvalidArgument, match="sent already"):
            batch.state.put("d", 1)
