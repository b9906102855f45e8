"""Pruning, deleting and copying threads: what stays is whole, what goes is gone, whoever writes meanwhile is told."""

from __future__ import annotations

import operator
from random import Random
from typing import Annotated, Any, Final, TypedDict

import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph

from recollectd.adapters.langgraph import RecollectdSaver
from recollectd.protocol import limits
from recollectd.testing import Daemon
from support.checkpoints import Branch, values_of

Namespace = tuple[str, ...]
LATEST: Final[Any] = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    items: Annotated[list[str], DeltaChannel(operator.add, snapshot_frequency=5)]


def delta_graph(saver: RecollectdSaver) -> Any:
    builder = StateGraph(State)
    builder.add_node("answer", lambda state: {"items": [f"answer {len(state['items'])}"]})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("runs", [1, 2, 3, 4, 7])
def test_pruning_keeps_what_delta_channels_are_rebuilt_from(
    daemon: Daemon, saver: RecollectdSaver, namespace: Namespace, runs: int
) -> None:
    graph = delta_graph(saver)
    for number in range(runs):
        graph.invoke({"items": [f"question {number}"]}, LATEST)
    before = graph.get_state(LATEST).values
    assert len(before["items"]) == 2 * runs
    saver.prune(["t"])
    with RecollectdSaver(daemon.url, namespace=namespace) as fresh:
        again = delta_graph(fresh)
        assert again.get_state(LATEST).values == before
        assert len(again.invoke({"items": ["more"]}, LATEST)["items"]) == 2 * runs + 2


def logs(daemon: Daemon, namespace: Namespace) -> dict[str, tuple[int, int]]:
    with daemon.client(namespace=namespace) as client:
        return {
            log.log_id: (log.first, log.next)
            for labels in client.namespaces(namespace)
            for log in client.with_namespace(*labels).logs.list()
        }


def test_pruning_frees_values_that_nothing_refers_to(
    daemon: Daemon, saver: RecollectdSaver, namespace: Namespace
) -> None:
    branch = Branch(saver)
    for number in range(10):
        branch.put({"document": f"version {number} " * 1_000, "messages": ["m" * 200] * (number + 1)})
        saver.put_writes(branch.config, [("document", "x")], "task")
    saver.prune(["t"])
    assert logs(daemon, namespace)["v/=/=document"] == (9, 10)
    assert values_of(saver, LATEST) == branch.values
    assert len(list(saver.list(LATEST))) == 1


def test_whoever_knew_the_thread_before_it_was_pruned_goes_on(
    daemon: Daemon, saver: RecollectdSaver, namespace: Namespace
) -> None:
    branch = Branch(saver)
    for number in range(5):
        branch.put({"document": f"version {number} " * 1_000})
    with RecollectdSaver(daemon.url, namespace=namespace) as other:
        other.prune(["t"])
    branch.put({"document": "version 0 " * 1_000})  # known to have been stored, and gone since
    with RecollectdSaver(daemon.url, namespace=namespace) as fresh:
        assert values_of(fresh, LATEST) == {"document": "version 0 " * 1_000}


def test_whoever_knew_a_thread_that_was_deleted_begins_it_anew(
    daemon: Daemon, saver: RecollectdSaver, namespace: Namespace
) -> None:
    branch = Branch(saver)
    branch.put({"document": "text " * 1_000})
    with RecollectdSaver(daemon.url, namespace=namespace) as other:
        other.delete_thread("t")
        assert other.get_tuple(LATEST) is None
        branch.put({"n": 1})
        assert values_of(other, LATEST) == {"document": "text " * 1_000, "n": 1}


def test_deleting_leaves_nothing(daemon: Daemon, saver: RecollectdSaver, namespace: Namespace) -> None:
    branch = Branch(saver)
    for number in range(3):
        branch.put({"messages": ["m" * 200] * (number + 1)}, run_id=f"run {number}")
        saver.put_writes(branch.config, [("messages", "x")], "task")
    saver.delete_thread("t")
    with daemon.client(namespace=namespace) as client:
        views = [client.with_namespace(*labels) for labels in client.namespaces(namespace)]
        assert [view.state.count() for view in views if view.state.count()] == []
    assert logs(daemon, namespace) == {}


def test_runs_take_their_checkpoints_with_them(saver: RecollectdSaver) -> None:
    one, two = Branch(saver, "one"), Branch(saver, "two")
    for number in range(4):
        one.put({"n": number}, run_id=f"run {number % 2}")
        two.put({"n": number}, run_id=f"run {number % 2}")
    saver.delete_for_runs(["run 0"])
    for thread_id in ("one", "two"):
        found = list(saver.list({"configurable": {"thread_id": thread_id}}))
        assert [each.checkpoint["channel_values"]["n"] for each in found] == [3, 1]


def test_a_copy_goes_its_own_way(saver: RecollectdSaver) -> None:
    branch = Branch(saver)
    for number in range(5):
        branch.put({"messages": [f"message {each} " * 30 for each in range(number + 1)]}, run_id="r")
        saver.put_writes(branch.config, [("messages", "x")], "task", "path")
    saver.put_writes(branch.config, [("messages", "y")], "another task", "a path")
    saver.copy_thread("t", "copy")
    copied: Any = {"configurable": {"thread_id": "copy"}}
    ours, theirs = list(saver.list(LATEST)), list(saver.list(copied))
    assert [each.checkpoint for each in ours] == [each.checkpoint for each in theirs]
    assert [each.pending_writes for each in ours] == [each.pending_writes for each in theirs]
    saver.delete_thread("t")
    assert values_of(saver, copied) == branch.values
    saver.delete_for_runs(["r"])
    assert saver.get_tuple(copied) is None


def test_a_copy_larger_than_a_commit(daemon: Daemon, saver: RecollectdSaver, namespace: Namespace) -> None:
    source, branch = Random(1), Branch(saver)
    branch.put({"file": source.randbytes(3_000_000)})
    large = source.randbytes(limits.COMMIT_BYTES_MAX + 1_000_000)
    branch.put({"file": large})
    saver.prune(["t"])
    saver.copy_thread("t", "copy")
    assert logs(daemon, (*namespace, "threads", "=copy")) == logs(daemon, (*namespace, "threads", "=t"))
    assert logs(daemon, (*namespace, "threads", "=t"))["v/=/=file"][0] == 3
    saver.delete_thread("t")
    assert values_of(saver, {"configurable": {"thread_id": "copy"}}) == {"file": large}


def test_a_thread_with_checkpoints_is_not_copied_over(saver: RecollectdSaver) -> None:
    Branch(saver, "one").put({"n": 1})
    Branch(saver, "two").put({"n": 2})
    with pytest.raises(ValueError, match="has checkpoints"):
        saver.copy_thread("one", "two")
    assert values_of(saver, {"configurable": {"thread_id": "two"}}) == {"n": 2}


def test_an_interrupted_copy_can_be_done_again(daemon: Daemon, saver: RecollectdSaver, namespace: Namespace) -> None:
    branch = Branch(saver)
    branch.put({"messages": ["m" * 200]})
    with daemon.client(namespace=(*namespace, "threads", "=copy")) as client:
        client.logs.append("v/=/=messages", [b"left over"])
    saver.copy_thread("t", "copy")
    assert values_of(saver, {"configurable": {"thread_id": "copy"}}) == branch.values


def test_a_strategy_is_one_of_two(saver: RecollectdSaver) -> None:
    with pytest.raises(ValueError, match="strategy"):
        saver.prune(["t"], strategy="keep_some")
