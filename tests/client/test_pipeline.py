"""Many calls sent together: handles, order, bounds, and buffers that fill in both directions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from client.conftest import Drive
from client.fake import DROP_AFTER, WITHHOLD, Action, FakeDaemon, Received, each_once, refuse
from recollectd.client import AsyncClient, Client
from recollectd.client.blocking import pipeline as pipelines
from recollectd.protocol import errors, limits
from recollectd.protocol.messages.logs import LogAppend
from recollectd.protocol.messages.state import StateGet, StatePut


def sent(daemon: FakeDaemon) -> list[int]:
    return [received.header.number for received in daemon.received]


def test_calls_return_handles_and_are_answered_at_the_end(daemon: FakeDaemon, client: Client) -> None:
    with client.pipeline() as pipeline:
        put = pipeline.state.put("k", 1)
        got = pipeline.state.get("k")
        chat = pipeline.conversations.create("c")
        other = pipeline.with_namespace("other").state.put("k", 1)
        assert not put.done
        assert daemon.received == []
    assert put.result() == 1
    record = got.result()
    assert record is not None
    assert record.value == 1
    assert chat.result().conversation_id == "c"
    assert other.result() == 1
    assert len(daemon.hellos) == 1


def test_asking_for_a_result_sends_what_was_collected(daemon: FakeDaemon, client: Client) -> None:
    with client.pipeline() as pipeline:
        assert pipeline.state.put("k", 1).result() == 1
        assert len(daemon.received) == 1
        pipeline.state.put("k", 2)
        pipeline.flush()
        assert len(daemon.received) == 2


def test_calls_of_several_requests_go_on_until_they_are_done(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.store.page_items = 2
    with drive(daemon) as driver:

        def body(pipeline: Any) -> list[Any]:
            pipeline.state.put_many({f"k{index}": index for index in range(5)})
            return [pipeline.state.count(), pipeline.state.get_many([f"k{index}" for index in range(5)])]

        handles = driver.within(driver.client.pipeline(), body)
        count, many = [outcome(driver, handle) for handle in handles]
        assert count == 5
        assert len(many) == 5


def outcome(driver: Any, handle: Any) -> Any:
    return handle.result() if driver.face == "blocking" else driver.do(lambda: handle)


def test_what_has_gathered_is_sent_without_being_asked_for(
    daemon: FakeDaemon, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "CALLS_GATHERED", 3)
    with client.pipeline() as pipeline:
        first = pipeline.state.put("a", 1)
        pipeline.state.put("b", 1)
        assert [first.done, len(daemon.received)] == [False, 0]
        pipeline.state.put("c", 1)
        assert [first.done, len(daemon.received)] == [True, 3]
        pipeline.state.put("d", b"x" * pipelines.BYTES_GATHERED)
        assert len(daemon.received) == 4


def test_more_calls_than_any_bound_allows_at_once(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.limits = {"requests_in_flight_per_connection_max": 7}
    with drive(daemon) as driver:

        def body(pipeline: Any) -> list[Any]:
            return [pipeline.logs.append("log", [index]) for index in range(limits.CLIENT_NUMBER_SPAN_MAX + 500)]

        handles = driver.within(driver.client.pipeline(), body)
        firsts = [outcome(driver, handle).first for handle in handles]
    assert firsts == list(range(limits.CLIENT_NUMBER_SPAN_MAX + 500))
    assert sent(daemon) == list(range(1, len(handles) + 1))
    assert max(received.header.span for received in daemon.received) < 7


def test_full_buffers_in_both_directions_block_nobody(daemon: FakeDaemon, drive: Drive) -> None:
    """The daemon reads nothing more while its answers are not taken: large requests cross large answers."""
    value = b"x" * 400_000
    with drive(daemon, timeout=60) as driver:
        driver.do(lambda: driver.client.state.put("large", value))

        def body(pipeline: Any) -> list[Any]:
            handles = []
            for index in range(30):
                handles.append(pipeline.state.put(f"k{index}", value))
                handles.append(pipeline.state.get("large"))
            return handles

        handles = driver.within(driver.client.pipeline(), body)
        results = [outcome(driver, handle) for handle in handles]
    assert {record.value for record in results[1::2]} == {value}


@pytest.mark.parametrize("after", [1, 5, 12])
def test_a_lost_connection_repeats_what_was_not_answered_in_order(daemon: FakeDaemon, drive: Drive, after: int) -> None:
    daemon.script = lambda received: (
        DROP_AFTER if received.header.number == after and received.connection == 1 else None
    )
    with drive(daemon) as driver:

        def body(pipeline: Any) -> list[Any]:
            return [pipeline.logs.append("log", [index]) for index in range(12)]

        handles = driver.within(driver.client.pipeline(), body)
        assert [outcome(driver, handle).first for handle in handles] == list(range(12))
    assert len(daemon.executed) == 12
    again = [received.header.number for received in daemon.received if received.connection == 2]
    assert again == list(range(again[0], 13))
    assert again[0] <= after


def test_what_is_put_off_stays_in_front_of_what_comes_behind_it(daemon: FakeDaemon, drive: Drive) -> None:
    """A call refused for now and everything not yet sent wait; what was sent meanwhile concerns other records."""
    daemon.limits = {"requests_in_flight_per_connection_max": 2}
    daemon.script = each_once(refuse(errors.Busy(retry_after_ms=1)), LogAppend)
    with drive(daemon) as driver:

        def body(pipeline: Any) -> list[Any]:
            first = pipeline.logs.append("log", ["first"])
            return [first, pipeline.state.put("k", 1), pipeline.logs.append("log", ["second"])]

        handles = driver.within(driver.client.pipeline(), body)
        assert outcome(driver, handles[0]).first == 0
        assert outcome(driver, handles[2]).first == 1
    order = [received.header.number for received in daemon.received]
    assert order in ([1, 2, 1, 3], [1, 1, 2, 3])


def test_what_cannot_stay_in_front_fails_as_busy(daemon: FakeDaemon, drive: Drive) -> None:
    """The second call of the record is under way already: putting the first one off would turn them round."""

    def script(received: Received) -> Action | None:
        if received.header.number == 1:
            return Action(execute=False, instead=refuse(errors.Busy()).instead, withhold=True)
        return WITHHOLD

    daemon.script = script
    with drive(daemon) as driver:

        def body(pipeline: Any) -> list[Any]:
            handles = [pipeline.logs.append("log", [index]) for index in range(2)]
            if driver.face == "blocking":
                release_when_two_wait(daemon)
            return handles

        if driver.face == "asyncio":
            release_when_two_wait(daemon)
        handles = driver.within(driver.client.pipeline(raises=False), body)
        with pytest.raises(errors.Busy):
            outcome(driver, handles[0])
        assert outcome(driver, handles[1]).first == 0
    assert sent(daemon) == [1, 2]


def release_when_two_wait(daemon: FakeDaemon) -> None:
    def release() -> None:
        daemon.wait(lambda: daemon.withheld == 2)
        daemon.release()

    daemon._start(release)


def test_the_end_raises_the_first_error_that_nobody_asked_for(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:

        def body(pipeline: Any) -> Any:
            handle = pipeline.state.put("k", 1, if_version=5)
            pipeline.state.put("k", 2)
            pipeline.conversations.append("none", "user", "x")
            return handle

        with pytest.raises(errors.VersionConflict):
            driver.within(driver.client.pipeline(), body)
        handle = driver.within(driver.client.pipeline(raises=False), body)
        with pytest.raises(errors.VersionConflict):
            outcome(driver, handle)


def test_an_error_that_was_asked_for_is_not_raised_again(client: Client) -> None:
    with client.pipeline() as pipeline:
        handle = pipeline.state.put("k", 1, if_version=5)
        assert isinstance(handle.exception(), errors.VersionConflict)


def test_an_error_that_was_awaited_is_not_raised_again(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url) as client, client.pipeline() as pipeline:
            handle = pipeline.state.put("k", 1, if_version=5)
            with pytest.raises(errors.VersionConflict):
                await handle

    asyncio.run(main())


def test_an_exception_inside_sends_nothing_more(daemon: FakeDaemon, client: Client) -> None:
    handles = []

    def body() -> None:
        with client.pipeline() as pipeline:
            handles.append(pipeline.state.put("k", 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    with pytest.raises(errors.InvalidArgument, match="not sent"):
        handles[0].result()
    assert daemon.received == []


def test_walks_are_no_part_of_a_pipeline(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver, pytest.raises(errors.InvalidArgument):
        driver.within(driver.client.pipeline(), lambda pipeline: pipeline.state.scan())


def test_a_bad_argument_is_refused_at_the_call(daemon: FakeDaemon, client: Client) -> None:
    with client.pipeline() as pipeline:
        with pytest.raises(errors.InvalidArgument):
            pipeline.state.put("", 1)
        pipeline.state.put("k", 1)
    assert len(daemon.of_type(StatePut)) == 1


def test_a_pipeline_gives_its_connection_back_between_flushes(daemon: FakeDaemon) -> None:
    with Client(daemon.url, connections_max=1, timeout=5) as client, client.pipeline() as pipeline:
        pipeline.state.put("k", 1)
        pipeline.flush()
        assert client.state.get("k") is not None
        pipeline.state.get("k")
    assert len(daemon.of_type(StateGet)) == 2
