"""The checkpointer over a daemon: what it stores, what others do meanwhile, and what it refuses."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from recollectd.adapters.langgraph import RecollectdSaver, copy_checkpoints
from recollectd.client import errors
from recollectd.testing import Daemon
from support.checkpoints import Branch, values_of

Namespace = tuple[str, ...]
LATEST: Final[Any] = {"configurable": {"thread_id": "t"}}


def pieces(daemon: Daemon, namespace: Namespace) -> list[bytes]:
    """Return every piece of a value that is stored below a namespace."""
    with daemon.client(namespace=namespace) as client:
        return [
            item.value
            for labels in client.namespaces(namespace)
            for log in client.with_namespace(*labels).logs.list()
            for item in client.with_namespace(*labels).logs.iterate(log.log_id, log.first)
        ]


def records(daemon: Daemon, namespace: Namespace) -> int:
    """Return how many records there are below a namespace."""
    with daemon.client(namespace=namespace) as client:
        views = [client.with_namespace(*labels) for labels in client.namespaces(namespace)]
        return sum(view.state.count() + len(list(view.logs.list())) for view in views)


def message(number: int) -> dict[str, Any]:
    return {"role": "user", "content": f"message {number} " * 20}


def position(daemon: Daemon) -> int:
    """Return the daemon's newest commit."""
    with daemon.client() as client:
        client.state.put("position", None)
        return client.position


def test_a_growing_list_is_stored_once(daemon: Daemon, saver: RecollectdSaver, namespace: Namespace) -> None:
    branch, messages = Branch(saver), list[Any]()
    for number in range(50):
        messages.append(message(number))
        branch.put({"messages": messages})
    assert len(pieces(daemon, namespace)) == 50
    assert values_of(saver, LATEST) == {"messages": messages}


def test_another_process_goes_on_without_storing_again(
    daemon: Daemon, saver: RecollectdSaver, namespace: Namespace
) -> None:
    messages = [message(number) for number in range(20)]
    branch = Branch(saver)
    branch.put({"messages": messages, "plan": "p" * 1_000})
    with RecollectdSaver(daemon.url, namespace=namespace) as other:
        branch.on(other).put({"messages": [*messages, message(20)]})
        assert values_of(other, LATEST) == {"messages": [*messages, message(20)], "plan": "p" * 1_000}
    assert len(pieces(daemon, namespace)) == 22


def test_an_unchanged_value_is_not_written(daemon: Daemon, saver: RecollectdSaver, namespace: Namespace) -> None:
    branch = Branch(saver)
    branch.put({"plan": "p" * 100_000, "n": 0})
    for number in range(1, 10):
        branch.put({"n": number})
    assert len(pieces(daemon, namespace)) == 1
    assert values_of(saver, LATEST) == {"plan": "p" * 100_000, "n": 9}


def test_a_checkpoint_is_one_commit(daemon: Daemon, saver: RecollectdSaver) -> None:
    branch = Branch(saver)
    branch.put({"messages": [message(0)]}, run_id="r")
    before = position(daemon)
    branch.put({"messages": [message(0), message(1)], "plan": "p" * 1_000}, run_id="r")
    assert position(daemon) - before == 2, "the checkpoint, and what asks for the position"


def test_a_value_larger_than_a_commit(saver: RecollectdSaver) -> None:
    value = bytes(range(256)) * 4_096 * 30
    branch = Branch(saver)
    branch.put({"file": value})
    assert values_of(saver, LATEST) == {"file": value}


def test_many_small_elements(saver: RecollectdSaver) -> None:
    branch = Branch(saver)
    numbers = list(range(30_000))
    branch.put({"numbers": numbers})
    branch.put({"numbers": [*numbers[:100], -1, *numbers[101:]]})
    assert values_of(saver, LATEST)["numbers"][99:102] == [99, -1, 101]


def test_a_look_at_the_past_does_not_store_the_present_again(
    daemon: Daemon, saver: RecollectdSaver, namespace: Namespace
) -> None:
    branch = Branch(saver)
    configs = [branch.put({"messages": [message(each) for each in range(number + 1)]}) for number in range(10)]
    assert values_of(saver, configs[2]) == {"messages": [message(each) for each in range(3)]}
    branch.put({"messages": [message(each) for each in range(11)]})
    assert len(pieces(daemon, namespace)) == 11


def test_the_newest_of_all_threads_come_first(saver: RecollectdSaver) -> None:
    one, two = Branch(saver, "one"), Branch(saver, "two")
    written = [branch.put({"n": number}) for number in range(3) for branch in (one, two)]
    listed = [found.config for found in saver.list(None)]
    assert listed == written[::-1]
    assert [found.config for found in saver.list(None, limit=4, before=written[4])] == written[:4][::-1]


def test_forks_share_and_stay_apart(daemon: Daemon, saver: RecollectdSaver, namespace: Namespace) -> None:
    branch = Branch(saver)
    branch.put({"messages": [message(0)]})
    other = branch.on(saver)
    one = branch.put({"messages": [message(0), message(1)]})
    two = other.put({"messages": [message(0), message(2)]})
    assert values_of(saver, one) == {"messages": [message(0), message(1)]}
    assert values_of(saver, two) == {"messages": [message(0), message(2)]}
    assert len(pieces(daemon, namespace)) == 3


def test_two_processes_on_one_thread_lose_nothing(daemon: Daemon, namespace: Namespace) -> None:
    configs: list[tuple[Any, list[Any]]] = []

    def work(number: int) -> list[tuple[Any, list[Any]]]:
        written = []
        with RecollectdSaver(daemon.url, namespace=namespace) as saver:
            branch, messages = Branch(saver), list[Any]()
            for step in range(25):
                messages.append(message(1_000 * number + step))
                written.append((branch.put({"messages": messages}), list(messages)))
        return written

    with ThreadPoolExecutor(4) as pool:
        for written in pool.map(work, range(4)):
            configs += written
    with RecollectdSaver(daemon.url, namespace=namespace) as saver:
        assert len(list(saver.list(LATEST))) == 100
        assert all(values_of(saver, config) == {"messages": messages} for config, messages in configs)
    assert len(pieces(daemon, namespace)) == 100


def test_python_threads_share_a_checkpointer(saver: RecollectdSaver) -> None:
    def work(number: int) -> list[Any]:
        branch, messages = Branch(saver, f"thread {number % 2}"), list[Any]()
        for step in range(15):
            messages.append(message(1_000 * number + step))
            branch.put({"messages": messages})
        return [branch.config, messages]

    with ThreadPoolExecutor(4) as pool:
        for config, messages in pool.map(work, range(4)):
            assert values_of(saver, config) == {"messages": messages}


def test_both_faces_see_the_same(saver: RecollectdSaver) -> None:
    config = Branch(saver).put({"messages": [message(0)]})

    async def read() -> Any:
        found = await saver.aget_tuple(config)
        await saver.aclose()
        return found

    assert asyncio.run(read()) == saver.get_tuple(config)


def test_a_clone_with_an_allowlist_shares_the_connections(daemon: Daemon, namespace: Namespace) -> None:
    serde = JsonPlusSerializer(allowed_msgpack_modules=[("decimal", "Decimal")])
    with RecollectdSaver(daemon.url, namespace=namespace, serde=serde) as saver:
        config = Branch(saver).put({"n": 1})
        clone = saver.with_allowlist([("fractions", "Fraction")])
        assert clone is not saver
        assert clone.get_tuple(config) == saver.get_tuple(config)


def test_what_a_task_wrote_first_stays(saver: RecollectdSaver) -> None:
    config = Branch(saver).put({})
    saver.put_writes(config, [("a", 1), ("b", 2)], "task")
    saver.put_writes(config, [("a", 10), ("b", 20), ("c", 30)], "task")
    saver.put_writes(config, [("__error__", "one")], "task")
    saver.put_writes(config, [("__error__", "two")], "task")
    found = saver.get_tuple(config)
    assert found is not None
    assert found.pending_writes == [("task", "__error__", "two"), ("task", "a", 1), ("task", "b", 2), ("task", "c", 30)]


HOSTILE: Final = [
    "a:b",
    "a/b",
    "a",
    "a%2Fb",
    "*",
    "a\0b",
    "\U0001f600",
    "é" * 60,
    "x" * 10_000,
    "x" * 10_001,
    "#",
    "=a",
]


def test_hostile_thread_ids_stay_apart(saver: RecollectdSaver) -> None:
    for number, thread_id in enumerate(HOSTILE):
        Branch(saver, thread_id).put({"n": number}, run_id=thread_id)
        Branch(saver, "one", checkpoint_ns=thread_id).put({"ns": number})
    for number, thread_id in enumerate(HOSTILE):
        config: Any = {"configurable": {"thread_id": thread_id}}
        assert [found.checkpoint["channel_values"] for found in saver.list(config)] == [{"n": number}]
        child: Any = {"configurable": {"thread_id": "one", "checkpoint_ns": thread_id}}
        assert [found.checkpoint["channel_values"] for found in saver.list(child)] == [{"ns": number}]
    listed = [found.config["configurable"]["thread_id"] for found in saver.list(None)]
    assert sorted(listed) == sorted([*HOSTILE, *["one"] * len(HOSTILE)])
    saver.delete_for_runs(HOSTILE[:3])
    saver.delete_thread(HOSTILE[3])
    left = {found.config["configurable"]["thread_id"] for found in saver.list(None)}
    assert left == {"one", *HOSTILE[4:]}


@pytest.mark.parametrize("thread_id", ["\ud800", None])
def test_ids_that_are_no_text_are_refused(saver: RecollectdSaver, thread_id: Any) -> None:
    with pytest.raises(ValueError, match=r"Unicode|thread"):
        saver.get_tuple({"configurable": {"thread_id": thread_id}})


def test_a_checkpoint_id_has_a_bound(saver: RecollectdSaver) -> None:
    with pytest.raises(ValueError, match="checkpoint id"):
        saver.get_tuple({"configurable": {"thread_id": "t", "checkpoint_id": "x" * 2_000}})


def test_what_cannot_be_serialized_leaves_nothing(daemon: Daemon, saver: RecollectdSaver, namespace: Namespace) -> None:
    with pytest.raises(TypeError):
        Branch(saver).put({"messages": [message(0)], "bad": lambda: None})
    with pytest.raises(TypeError):
        saver.put_writes({"configurable": {"thread_id": "t", "checkpoint_id": "1"}}, [("a", lambda: None)], "task")
    assert records(daemon, namespace) == 0
    Branch(saver).put({"messages": [message(0)]})


def test_what_a_task_writes_has_a_bound(saver: RecollectdSaver) -> None:
    config = Branch(saver).put({})
    with pytest.raises(errors.TooLarge):
        saver.put_writes(config, [("a", "x" * 9_000_000)], "task")
    found = saver.get_tuple(config)
    assert found is not None
    assert found.pending_writes == []


def test_a_thread_of_texts_for_versions_goes_on(saver: RecollectdSaver) -> None:
    first = "00000000000000000000000000000009.0.73"
    second = saver.get_next_version(first, None)
    third = saver.get_next_version(second, None)
    assert first < second < third


def test_an_absent_daemon_is_told(tmp_path: Any) -> None:
    with RecollectdSaver(f"unix://{tmp_path}/none", timeout=0.2) as saver:
        with pytest.raises(errors.DaemonUnavailable):
            saver.get_tuple(LATEST)
        with pytest.raises(errors.DaemonUnavailable):
            Branch(saver).put({"n": 1})
        with pytest.raises(errors.DaemonUnavailable):
            list(saver.list(None))


def test_a_daemon_that_is_killed_between_calls(recollectd_daemon: Daemon) -> None:
    with RecollectdSaver(recollectd_daemon.url) as saver:
        branch, messages = Branch(saver), list[Any]()
        for step in range(12):
            if step % 4 == 3:
                recollectd_daemon.restart(kill=True)
            messages.append(message(step))
            branch.put({"messages": messages})
            saver.put_writes(branch.config, [("messages", [message(step)])], f"task {step}")
        assert values_of(saver, LATEST) == {"messages": messages}
        assert len(list(saver.list(LATEST))) == 12
    assert len(pieces(recollectd_daemon, ("langgraph",))) == 12


def test_a_daemon_that_is_killed_in_mid_call(recollectd_daemon: Daemon) -> None:
    async def story() -> list[Any]:
        async with RecollectdSaver(recollectd_daemon.url) as saver:
            puts = [asyncio.create_task(_aput(saver, f"thread {number}")) for number in range(40)]
            await asyncio.sleep(0)
            await asyncio.to_thread(recollectd_daemon.restart, kill=True)
            await asyncio.gather(*puts)
            return [found async for found in saver.alist(None)]

    assert len(asyncio.run(story())) == 40
    assert len(pieces(recollectd_daemon, ("langgraph",))) == 40


async def _aput(saver: RecollectdSaver, thread_id: str) -> None:
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"text": thread_id * 100}
    checkpoint["channel_versions"] = {"text": 1}
    await saver.aput({"configurable": {"thread_id": thread_id}}, checkpoint, {"source": "loop"}, {"text": 1})


def test_moving_from_another_checkpointer(saver: RecollectdSaver) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    source = InMemorySaver()
    for thread_id in ("one", "two"):
        branch = Branch(source, thread_id)
        for step in range(5):
            branch.put({"messages": [message(each) for each in range(step + 1)]}, run_id="r")
            source.put_writes(branch.config, [("messages", [message(step)]), ("x", step)], f"task {step}")
    assert copy_checkpoints(source, saver) == 10
    assert copy_checkpoints(source, saver, ["one"]) == 5
    for thread_id in ("one", "two"):
        config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        assert list(saver.list(config)) == list(source.list(config))
