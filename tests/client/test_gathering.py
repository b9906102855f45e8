"""Gets of a pipeline travel together, and nobody can tell: order, errors and losses are as of single calls."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from client.conftest import Drive, Driver
from client.fake import DROP, DROP_AFTER, WITHHOLD, Action, FakeDaemon, Received, each_once, refuse
from recollectd.client import AsyncClient, Client
from recollectd.protocol import errors
from recollectd.protocol.messages.fields import Message
from recollectd.protocol.messages.state import StateGet, StateGetMany, StatePut, StateRecord


def requests(daemon: FakeDaemon) -> list[type[Message]]:
    return [type(received.request) for received in daemon.received]


def outcome(driver: Driver, handle: Any) -> Any:
    return handle.result() if driver.face == "blocking" else driver.do(lambda: handle)


def values(driver: Driver, handles: list[Any]) -> list[Any]:
    records = [outcome(driver, handle) for handle in handles]
    return [None if record is None else record.value for record in records]


def filled(driver: Driver, daemon: FakeDaemon) -> None:
    driver.do(lambda: driver.client.state.put_many({f"k{index}": index for index in range(6)}))
    daemon.received.clear()


def test_gets_travel_in_one_frame(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        filled(driver, daemon)

        def body(pipeline: Any) -> list[Any]:
            return [pipeline.state.get(key) for key in ("k1", "none", "k0", "k1")]

        handles = driver.within(driver.client.pipeline(), body)
        assert values(driver, handles) == [1, None, 0, 1]
        assert outcome(driver, handles[0]).key == "k1"
    assert requests(daemon) == [StateGetMany]
    assert daemon.received[0].header.after == daemon.store.position > 0, "they see this client's writes"


def test_each_namespace_has_a_frame_and_a_lone_get_stays_one(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        filled(driver, daemon)

        def body(pipeline: Any) -> list[Any]:
            other = pipeline.with_namespace("other")
            return [pipeline.state.get("k0"), other.state.get("k0"), pipeline.state.get("k2")]

        assert values(driver, driver.within(driver.client.pipeline(), body)) == [0, None, 2]
    assert requests(daemon) == [StateGetMany, StateGet]


def test_gets_in_front_of_a_write_are_asked_one_by_one(daemon: FakeDaemon, drive: Drive) -> None:
    """A page that ends early would be completed behind the write."""
    daemon.store.page_items = 1
    with drive(daemon) as driver:
        filled(driver, daemon)

        def body(pipeline: Any) -> list[Any]:
            before = [pipeline.state.get("k0"), pipeline.state.get("k1")]
            pipeline.state.put("k1", "new")
            return [*before, pipeline.state.get("k0"), pipeline.state.get("k1")]

        assert values(driver, driver.within(driver.client.pipeline(), body)) == [0, 1, 0, "new"]
    assert requests(daemon)[:4] == [StateGet, StateGet, StatePut, StateGetMany]


def test_gets_of_versions_and_times_are_not_gathered(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        filled(driver, daemon)

        def body(pipeline: Any) -> list[Any]:
            return [pipeline.state.get("k0", version=1), pipeline.state.get("k0", as_of="2100-01-01T00:00:00Z")]

        driver.within(driver.client.pipeline(), body)
    assert requests(daemon) == [StateGet, StateGet]


@pytest.mark.parametrize("page_items", [1, 2, 4])
def test_pages_that_end_early_are_completed(daemon: FakeDaemon, drive: Drive, page_items: int) -> None:
    daemon.store.page_items = page_items
    with drive(daemon) as driver:
        filled(driver, daemon)

        def body(pipeline: Any) -> list[Any]:
            return [pipeline.state.get(f"k{index}") for index in range(7)]

        assert values(driver, driver.within(driver.client.pipeline(), body)) == [0, 1, 2, 3, 4, 5, None]
    assert len(daemon.received) == -(-7 // page_items)


def test_a_page_without_any_record_is_a_mistake_that_each_get_is_asked_about(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        filled(driver, daemon)
        daemon.store.page_items = 0

        def body(pipeline: Any) -> list[Any]:
            return [pipeline.state.get("k0"), pipeline.state.get("k1")]

        assert values(driver, driver.within(driver.client.pipeline(), body)) == [0, 1]
    assert requests(daemon) == [StateGetMany, StateGet, StateGet]


def test_a_refusal_hits_only_the_get_that_it_is_about(daemon: FakeDaemon, drive: Drive) -> None:
    def script(received: Received) -> Action | None:
        request = received.request
        about = request.keys if isinstance(request, StateGetMany) else (request.key,)  # type: ignore[attr-defined]
        return refuse(errors.InternalError("unreadable", error_id="e-1")) if "k1" in about else None

    with drive(daemon) as driver:
        filled(driver, daemon)
        daemon.script = script

        def body(pipeline: Any) -> list[Any]:
            return [pipeline.state.get(f"k{index}") for index in range(3)]

        handles = driver.within(driver.client.pipeline(raises=False), body)
        assert values(driver, [handles[0], handles[2]]) == [0, 2]
        with pytest.raises(errors.InternalError, match="unreadable"):
            outcome(driver, handles[1])
        with pytest.raises(errors.InternalError, match="unreadable"):
            driver.within(driver.client.pipeline(), body)


def test_a_value_that_python_cannot_hold_hits_only_its_get(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        filled(driver, daemon)
        odd = msgspec.Raw(b"\x81\x80\x01")  # a map with a map as a key
        daemon.store.records[("default",), "k1"] = StateRecord("k1", odd, 1, 1, 1, None, 1)

        def body(pipeline: Any) -> list[Any]:
            return [pipeline.state.get(f"k{index}") for index in range(3)]

        handles = driver.within(driver.client.pipeline(raises=False), body)
        assert values(driver, [handles[0], handles[2]]) == [0, 2]
        with pytest.raises((msgspec.DecodeError, TypeError)):
            outcome(driver, handles[1])
        with pytest.raises((msgspec.DecodeError, TypeError)):
            driver.do(lambda: driver.client.state.get("k1"))
        assert driver.do(lambda: driver.client.state.get("k2")).value == 2, "the connection is as good as before"
    assert len(daemon.hellos) == 1


@pytest.mark.parametrize("action", [DROP, DROP_AFTER, refuse(errors.Busy(retry_after_ms=1))])
def test_gathered_gets_are_repeated(daemon: FakeDaemon, drive: Drive, action: Action) -> None:
    with drive(daemon) as driver:
        filled(driver, daemon)
        daemon.script = each_once(action, StateGetMany)

        def body(pipeline: Any) -> list[Any]:
            put = pipeline.state.put("k9", 9)
            return [put, *(pipeline.state.get(key) for key in ("k0", "k9"))]

        put, *gets = driver.within(driver.client.pipeline(), body)
        assert outcome(driver, put) == 1
        assert values(driver, gets) == [0, 9]
    assert len(daemon.of_type(StateGetMany)) == 2
    assert len(daemon.executed) == 2, "the write behind which they stood was carried out once"


def test_gets_refused_for_now_are_put_off_whatever_is_in_flight(daemon: FakeDaemon, drive: Drive) -> None:
    def script(received: Received) -> Action | None:
        if isinstance(received.request, StatePut):
            return WITHHOLD
        return refuse(errors.Busy(retry_after_ms=1)) if len(daemon.of_type(StateGetMany)) == 1 else None

    with drive(daemon) as driver:
        filled(driver, daemon)
        daemon.script = script

        def release() -> None:
            daemon.wait(lambda: len(daemon.of_type(StateGetMany)) == 1)
            daemon.release()

        daemon._start(release)

        def body(pipeline: Any) -> list[Any]:
            pipeline.state.put("k1", "new")
            return [pipeline.state.get("k0"), pipeline.state.get("k1")]

        assert values(driver, driver.within(driver.client.pipeline(), body)) == [0, "new"]
    assert len(daemon.of_type(StateGetMany)) == 2


def test_no_answer_in_time_fails_every_get(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.script = lambda received: Action(execute=False, answer=False)
    with drive(daemon, timeout=0.2) as driver:

        def body(pipeline: Any) -> list[Any]:
            return [pipeline.state.get("a"), pipeline.state.get("b")]

        handles = driver.within(driver.client.pipeline(raises=False), body)
        for handle in handles:
            with pytest.raises(errors.RequestTimeout):
                outcome(driver, handle)


def test_an_error_in_the_middle_is_its_calls_own(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:

        def body(pipeline: Any) -> list[Any]:
            guards = [None, 5, None]
            return [pipeline.state.put(f"k{n}", n, if_version=guard) for n, guard in enumerate(guards)]

        handles = driver.within(driver.client.pipeline(raises=False), body)
        assert [outcome(driver, handles[0]), outcome(driver, handles[2])] == [1, 1]
        with pytest.raises(errors.VersionConflict):
            outcome(driver, handles[1])


def test_replies_of_different_records_may_come_in_any_order(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        driver.do(lambda: driver.client.state.put("k0", 0))
        daemon.script = lambda received: WITHHOLD

        def release() -> None:
            daemon.wait(lambda: daemon.withheld == 3)
            daemon.script = None
            daemon.release(lambda withheld: withheld.reverse())

        daemon._start(release)

        def body(pipeline: Any) -> list[Any]:
            return [pipeline.state.put(f"k{index}", index) for index in range(3)]

        handles = driver.within(driver.client.pipeline(), body)
        assert [outcome(driver, handle) for handle in handles] == [2, 1, 1]
        assert driver.client.position == 4, "of the newest reply, not of the last to come"


def test_what_was_not_sent_says_so(daemon: FakeDaemon, client: Client) -> None:
    handles = []

    def body() -> None:
        with client.pipeline() as pipeline:
            handles.append(pipeline.state.get("k"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    with pytest.raises(errors.InvalidArgument, match="not sent"):
        handles[0].result()
    assert daemon.received == []


def test_a_write_made_later_waits_for_gets_under_way(daemon: FakeDaemon) -> None:
    """The daemon's first page holds one record; the other is asked for again, in front of the write made meanwhile."""

    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            await client.state.put_many({"a": 1, "b": 1, "c": 1})
            daemon.store.page_items = 1
            daemon.script = each_once(WITHHOLD, StateGetMany)
            async with client.pipeline() as pipeline:
                gets = [pipeline.state.get(key) for key in "abc"]
                await asyncio.to_thread(daemon.wait, lambda: daemon.withheld == 1)
                pipeline.state.put("b", 2)
                last = pipeline.state.get("b")
                await asyncio.to_thread(daemon.release)
                assert [record.value for record in [await get for get in gets] if record] == [1, 1, 1]
                record = await last
                assert record is not None
                assert record.value == 2

    asyncio.run(main())
    assert requests(daemon)[1:] == [StateGetMany, StateGetMany, StateGet, StatePut, StateGet]


def test_other_calls_of_the_same_turn_stay_behind(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url) as client, client.pipeline() as pipeline:
            await client.state.put_many({"a": 1, "b": 1})
            gets = [pipeline.state.get("a"), pipeline.state.get("b")]
            await client.state.put("b", 2)
            assert [record.value for record in [await get for get in gets] if record] == [1, 1]

    asyncio.run(main())
    assert requests(daemon)[1:] == [StateGetMany, StatePut]


def test_many_may_await_a_handle_and_give_up(daemon: FakeDaemon) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.url) as client:
            await client.state.put("a", 1)
            daemon.script = each_once(WITHHOLD, StateGetMany)
            async with client.pipeline() as pipeline:
                handle = pipeline.state.get("a")
                pipeline.state.get("b")

                async def wait() -> Any:
                    return await handle

                patient, hasty = asyncio.create_task(wait()), asyncio.create_task(wait())
                await asyncio.to_thread(daemon.wait, lambda: daemon.withheld == 1)
                hasty.cancel()
                await asyncio.wait([hasty])
                assert hasty.cancelled()
                await asyncio.to_thread(daemon.release)
                record = await patient
                assert record.value == 1
                assert (await handle) is record

    asyncio.run(main())


def test_gets_gathered_when_the_client_is_closed_fail(daemon: FakeDaemon) -> None:
    async def main() -> None:
        client = AsyncClient(daemon.url)
        await client.ping()
        pipeline = client.pipeline()
        handles = [pipeline.state.get("a"), pipeline.state.get("b")]
        await client.close()
        for handle in handles:
            with pytest.raises(errors.ClientClosed):
                await handle
        with pytest.raises(errors.ClientClosed):
            pipeline.state.get("c")

    asyncio.run(main())
