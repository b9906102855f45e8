"""PersistentBufferMemory: what the buffer holds, what is stored, and that nothing is lost, doubled or out of order."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recollectd.client import Client, PersistentBufferMemory, errors
from recollectd.client.agents import buffer as buffer_module
from recollectd.client.agents import following
from recollectd.testing import Daemon
from support.waiting import until

Memory = PersistentBufferMemory


@pytest.fixture
def memory(client: Client) -> Iterator[Memory]:
    with Memory("a", buffer_size=5, auto_persist_interval=None, client=client) as opened:
        yield opened
        opened.clear_buffer()  # what a test leaves in memory is no loss


def contents(messages: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages]


def stored(client: Client, agent_id: str = "a") -> list[str]:
    try:
        return [message.content for message in client.conversations.history(agent_id).messages]
    except errors.NotFound:
        return []


def add(memory: Memory, *texts: str) -> None:
    for text in texts:
        memory.add_message("user", text)


def test_messages_have_role_content_and_time(memory: Memory) -> None:
    memory.add_message("user", "hello", timestamp="2026-01-31T12:00:00Z")
    memory.add_message("assistant", "hi", metadata={"model": "m"})
    first, second = memory.get_history()
    assert first == {"role": "user", "content": "hello", "timestamp": "2026-01-31T12:00:00.000000Z"}
    assert second.pop("timestamp") > "2026"
    assert second == {"role": "assistant", "content": "hi", "metadata": {"model": "m"}}
    memory.persist()
    assert memory.get_history()[0] == first
    assert memory.get_history()[1]["metadata"] == {"model": "m"}


def test_what_is_returned_is_the_callers(memory: Memory) -> None:
    memory.add_message("user", "hello", metadata={"tags": []})
    memory.get_history()[0]["metadata"]["tags"].append("mine")
    assert memory.get_history()[0]["metadata"] == {"tags": []}


def test_the_buffer_holds_the_newest(memory: Memory, client: Client) -> None:
    add(memory, *"1234567")
    assert contents(memory.get_history()) == list("34567")
    assert contents(memory.get_history(2)) == list("67")
    assert memory.get_history(0) == []
    assert memory.persist() == 7
    assert stored(client) == list("1234567")
    assert contents(memory.get_history()) == list("34567")
    add(memory, "8")
    assert contents(memory.get_history()) == list("45678")
    assert contents(memory.load_from_db(7)) == list("1234567")
    assert contents(memory.get_history()) == list("45678")


def test_it_persists_by_itself_after_each_interval(client: Client) -> None:
    with Memory("a", auto_persist_interval=3, client=client) as memory:
        add(memory, "1", "2")
        assert stored(client) == []
        add(memory, "3", "4")
        assert stored(client) == ["1", "2", "3"]
        assert memory.unpersisted == 1
    assert stored(client) == ["1", "2", "3", "4"], "closing persists the rest"


def test_by_hand_what_is_not_persisted_is_said_on_close(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory("a", auto_persist_interval=None, client=client)
    add(memory, "1")
    memory.persist()
    add(memory, "2", "3")
    with caplog.at_level(logging.WARNING):
        assert contents(memory.close()) == ["2", "3"]
    assert "2 messages of agent 'a' were not persisted" in caplog.text
    assert memory.close() == []
    assert stored(client) == ["1"]
    for call in (memory.persist, memory.load_from_db, lambda: add(memory, "4")):
        with pytest.raises(errors.ClientClosed):
            call()


def test_clearing_the_buffer_keeps_the_store(memory: Memory, client: Client) -> None:
    add(memory, "1", "2")
    memory.persist()
    add(memory, "3")
    assert contents(memory.clear_buffer()) == ["3"]
    assert memory.get_history() == []
    assert stored(client) == ["1", "2"]
    add(memory, "4")
    memory.persist()
    assert contents(memory.get_history()) == ["4"]
    assert contents(memory.load_from_db()) == ["1", "2", "4"]
    assert contents(memory.get_history()) == ["1", "2", "4"]


def test_deleting_the_history_empties_both(memory: Memory, client: Client) -> None:
    assert memory.delete_history() is False
    add(memory, "1")
    memory.persist()
    add(memory, "2")
    assert memory.delete_history() is True
    assert not memory.get_history() + memory.load_from_db()
    assert stored(client) == []
    add(memory, "3")
    memory.persist()
    assert contents(memory.get_history()) == stored(client) == ["3"]


def test_one_agent_is_one_history_and_others_are_isolated(open_client: Callable[[], Client]) -> None:
    with (
        Memory("a", auto_persist_interval=None, client=open_client()) as one,
        Memory("a", auto_persist_interval=None, client=open_client()) as other,
        Memory("b", auto_persist_interval=None, client=open_client()) as stranger,
    ):
        add(one, "1")
        add(other, "2")
        assert contents(other.get_history()) == ["2"]
        one.persist()
        until(lambda: contents(other.get_history()) == ["1", "2"])
        add(one, "3")
        other.persist()
        until(lambda: contents(one.get_history()) == ["1", "2", "3"])
        one.persist()
        until(lambda: contents(other.get_history()) == ["1", "2", "3"])
        assert stranger.get_history() == []
        one.delete_history()
        until(lambda: other.get_history() == [])


def test_a_new_instance_begins_with_what_is_stored(client: Client) -> None:
    with Memory("a", client=client) as memory:
        add(memory, *"123")
    with Memory("a", buffer_size=2, client=client) as memory:
        assert contents(memory.get_history()) == ["2", "3"]


def test_others_messages_do_not_bring_back_what_was_cleared(open_client: Callable[[], Client]) -> None:
    with Memory("a", client=open_client()) as one, Memory("a", auto_persist_interval=1, client=open_client()) as other:
        add(other, "1", "2")
        until(lambda: contents(one.get_history()) == ["1", "2"])
        one.clear_buffer()
        add(other, "3")
        until(lambda: contents(one.get_history()) == ["3"])


def test_threads_share_an_instance(client: Client) -> None:
    each, threads = 40, 6
    with Memory("a", buffer_size=1_000, auto_persist_interval=7, client=client) as memory:

        def work(number: int) -> None:
            for index in range(each):
                memory.add_message("user", f"{number}-{index}")
                memory.get_history(3)

        running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        seen = contents(memory.get_history())
    kept = stored(client)
    assert seen == kept
    assert len(kept) == each * threads
    for number in range(threads):
        assert [text for text in kept if text.startswith(f"{number}-")] == [f"{number}-{i}" for i in range(each)]


def test_many_instances_of_one_agent_lose_and_double_nothing(open_client: Callable[[], Client]) -> None:
    client = open_client()
    memories = [Memory("a", buffer_size=500, auto_persist_interval=4, client=client) for _ in range(5)]
    for round_number in range(20):
        for index, memory in enumerate(memories):
            add(memory, f"{index}-{round_number}")
    for memory in memories:
        memory.persist()
    kept = stored(client)
    assert sorted(kept) == sorted(f"{index}-{number}" for index in range(5) for number in range(20))
    for memory in memories:
        until(lambda memory=memory: contents(memory.get_history()) == kept)  # type: ignore[misc]
        memory.close()


def test_messages_stay_while_the_daemon_is_away(tmp_path: Any) -> None:
    with Daemon(tmp_path) as daemon, daemon.client(timeout=0.3) as client:
        memory = Memory("a", auto_persist_interval=2, client=client)
        add(memory, "1", "2")
        daemon.kill()
        add(memory, "3", "4")
        assert "RecollectdError" in [kind.__name__ for kind in type(memory.failure).__mro__]
        with pytest.raises(errors.RecollectdError):
            memory.persist()
        assert contents(memory.get_history()) == ["1", "2", "3", "4"]
        assert memory.unpersisted == 2
        daemon.start()
        until(lambda: memory.persist() == 2)
        assert stored(client) == ["1", "2", "3", "4"]
        assert memory.close() == []
        assert memory.failure is None


@pytest.mark.parametrize("arrived", [True, False])
def test_a_persist_of_unknown_outcome_stores_its_messages_once(
    client: Client, memory: Memory, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    add(memory, "1", "1")
    memory.persist()
    add(memory, "1", "2", "2")
    append = memory._append

    def lost(block: Any) -> int:
        if arrived:
            append(block)
        raise errors.RequestTimeout("no reply")

    with monkeypatch.context() as patch:
        patch.setattr(memory, "_append", lost)
        with pytest.raises(errors.RequestTimeout):
            memory.persist()
    client.conversations.append("a", "assistant", "between")
    add(memory, "3")
    assert memory.persist() == 4
    between = ["1", "2", "2", "between", "3"] if arrived else ["between", "1", "2", "2", "3"]
    assert stored(client) == ["1", "1", *between]
    assert contents(memory.get_history()) == stored(client)[-5:]
    assert memory.persist() == 0


def test_an_unknown_first_persist_creates_the_conversation(memory: Memory, client: Client) -> None:
    add(memory, "1")
    memory._unknown = (1, 0)
    assert memory.persist() == 1
    assert stored(client) == ["1"]


def test_large_persists_go_in_several_blocks(memory: Memory, client: Client) -> None:
    add(memory, *map(str, range(2_345)))
    assert memory.persist() == 2_345
    assert stored(client) == list(map(str, range(2_345)))
    assert contents(memory.load_from_db(2_000))[0] == "345"


HOSTILE = ["a:b", "../x", "*", "nul\0l", "🦆", "n" * 1_024, " "]


@pytest.mark.parametrize("agent_id", HOSTILE)
def test_hostile_ids_are_ids(client: Client, agent_id: str) -> None:
    with Memory(agent_id, auto_persist_interval=1, client=client) as memory:
        add(memory, "hello")
    assert stored(client, agent_id) == ["hello"]
    assert [info.conversation_id for info in client.conversations.list()] == [agent_id]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"agent_id": ""}, "agent_id"),
        ({"agent_id": "x" * 10_000}, "agent_id"),
        ({"agent_id": 7}, "agent_id"),
        ({"agent_id": "\ud800"}, "agent_id"),
        ({"buffer_size": 0}, "buffer_size"),
        ({"buffer_size": True}, "buffer_size"),
        ({"auto_persist_interval": 0}, "auto_persist_interval"),
        ({"enable_compression": "yes"}, "enable_compression"),
    ],
)
def test_bad_arguments_are_refused(client: Client, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        Memory(**{"agent_id": "a", "client": client, **arguments})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("role", "content", "more", "field"),
    [
        ("system", "x", {}, "role"),
        ("user", "", {}, "content"),
        ("user", 7, {}, "content"),
        ("user", "x", {"metadata": {"f": object()}}, "metadata"),
        ("user", "x", {"metadata": {1: 2}}, "metadata"),
        ("user", "x", {"timestamp": "yesterday"}, "timestamp"),
    ],
)
def test_bad_messages_are_refused(memory: Memory, role: Any, content: Any, more: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        memory.add_message(role, content, **more)
    assert refused.value.field == field
    assert memory.get_history() == []


def test_what_waits_is_bounded(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer_module, "UNPERSISTED_MAX", 2)
    add(memory, "1", "2")
    with pytest.raises(errors.TooLarge):
        add(memory, "3")
    memory.persist()
    add(memory, "3")


def test_it_opens_a_client_of_its_own(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOLLECTD_URL", daemon.url)
    with Memory("own", auto_persist_interval=1) as memory:
        add(memory, "hello")
    with Memory("own") as memory:
        assert contents(memory.get_history()) == ["hello"]


def test_the_watch_ends_with_the_last_instance(client: Client) -> None:
    one, other = Memory("a", client=client), Memory("b", client=client)
    threads = [thread for thread in threading.enumerate() if thread.name == "recollectd-buffers"]
    assert threads
    one.close()
    del other
    # A refusal that was raised keeps the frames it came through until the garbage collector finds it.
    until(lambda: gc.collect() >= 0 and not any(thread.is_alive() for thread in threads))
    assert not following._followers
