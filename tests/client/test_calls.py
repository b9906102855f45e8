"""Every call over both faces and both transports: what it sends and what it gives back."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest

from client.conftest import Drive, Driver
from client.fake import FakeDaemon, Received
from recollectd.client import Client, NewMemory, NewMessage, results
from recollectd.client.kinds.everything import Everything
from recollectd.protocol import errors, table
from recollectd.protocol.messages import connection, logs, state, transactions
from recollectd.protocol.messages.conversations import ConversationAppend, ConversationHistory
from recollectd.protocol.messages.conversations import NewMessage as WireMessage
from recollectd.protocol.messages.fields import Write

AT = "2023-11-14T22:13:"


def test_state_calls(any_daemon: FakeDaemon, drive: Drive) -> None:
    with drive(any_daemon) as driver:
        s, do = driver.client.state, driver.do
        assert do(lambda: s.put("profile", {"name": "Ada"}, ttl=60)) == 1
        assert do(lambda: s.put("profile", {"name": "Eve"}, if_version=1)) == 2
        record = do(lambda: s.get("profile"))
        assert (record.key, record.value, record.version, record.expires_at) == ("profile", {"name": "Eve"}, 2, None)
        assert record.created_at.startswith(AT)
        assert do(lambda: s.get("nothing")) is None
        with pytest.raises(errors.VersionConflict) as raised:
            do(lambda: s.put("profile", 1, if_absent=True))
        assert raised.value.field == "if_version"
        assert do(lambda: s.put_many({"a": 1, "b": 2}, ttl=1)) == {"a": 1, "b": 1}
        assert {key: each.value for key, each in do(lambda: s.get_many(["a", "x", "b"])).items()} == {"a": 1, "b": 2}
        assert do(lambda: s.get_many([])) == {}
        do(lambda: s.put("nil", None))
        assert do(lambda: s.get_values(["b", "x", "nil", "a"])) == [2, None, None, 1]
        assert do(lambda: s.get_values(["b", "x", "nil", "a", "y"], default=0)) == [2, 0, None, 1, 0]
        assert do(lambda: s.get_values([])) == []
        assert do(lambda: s.delete("nil")) is True
        assert do(lambda: s.touch("a", None)) is None
        assert do(lambda: s.touch("a", 5)).startswith(AT)
        with pytest.raises(errors.NotFound):
            do(lambda: s.touch("nothing", 5))
        assert [each.version for each in do(lambda: s.history("profile"))] == [2, 1]
        assert do(lambda: s.count()) == 3
        assert [each.key for each in driver.all(lambda: s.scan(reverse=True))] == ["profile", "b", "a"]
        assert do(lambda: s.delete("a")) is True
        assert do(lambda: s.delete("a")) is False
        assert do(lambda: s.delete_prefix("")) == 2


def test_everything_is_paged_out_of_sight(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.store.page_items = 3
    with drive(daemon) as driver:
        s, do = driver.client.state, driver.do
        do(lambda: s.put_many({f"k{index:02}": index for index in range(10)}))
        assert [each.value for each in driver.all(lambda: s.scan("k"))] == list(range(10))
        assert [each.value for each in driver.all(lambda: s.scan("k", limit=7))] == list(range(7))
        assert [each.value for each in driver.all(lambda: s.scan("k", limit=6))] == list(range(6))
        assert {each.value for each in driver.all(lambda: s.scan(values=False))} == {None}
        assert [each.key for each in driver.all(lambda: s.scan(pattern="k0[12]"))] == ["k01", "k02"]
        assert do(lambda: s.count()) == 10
        assert len(do(lambda: s.get_many(f"k{index:02}" for index in range(10)))) == 10
        assert do(lambda: s.get_values([*(f"k{index:02}" for index in range(10)), "x"], default=-1)) == [*range(10), -1]
        page = do(lambda: s.scan_page(limit=2))
        assert [each.key for each in page.records] == ["k00", "k01"]
        page = do(lambda: s.scan_page(limit=2, cursor=page.cursor))
        assert [each.key for each in page.records] == ["k02", "k03"]
        for _ in range(7):
            do(lambda: s.put("k00", 1))
        assert [each.version for each in do(lambda: s.history("k00"))] == [8, 7, 6, 5, 4, 3, 2, 1]
        assert [each.version for each in do(lambda: s.history("k00", limit=5))] == [8, 7, 6, 5, 4]
        progress: list[int] = []
        assert do(lambda: s.delete_prefix("", progress=progress.append)) == 10
        assert progress == [3, 6, 9, 10]


def test_log_calls(daemon: FakeDaemon, drive: Drive) -> None:
    daemon.store.page_items = 4
    with drive(daemon) as driver:
        logs_of, do = driver.client.logs, driver.do
        appended = do(lambda: logs_of.append("events", ["a", {"b": 1}], if_next=0))
        assert (appended.first, appended.next) == (0, 2)
        do(lambda: logs_of.append("events", range(8)))
        page = do(lambda: logs_of.read("events", start=1, limit=2))
        assert [(item.position, item.value) for item in page.items] == [(1, {"b": 1}), (2, 0)]
        assert (page.first, page.next) == (0, 10)
        assert page.items[0].stored_at.startswith(AT)
        assert do(lambda: logs_of.read("none")) == results.LogPage([], 0, 0)
        assert [item.position for item in driver.all(lambda: logs_of.iterate("events"))] == list(range(10))
        assert [item.position for item in driver.all(lambda: logs_of.iterate("events", 7))] == [7, 8, 9]
        assert driver.all(lambda: logs_of.iterate("none")) == []
        assert [item.value for item in do(lambda: logs_of.pop_last("events", 2))] == [6, 7]
        assert do(lambda: logs_of.truncate("events", before=3)).first == 3
        assert do(lambda: logs_of.copy("events", "copy", target_namespace=("default", "x"))).log_id == "copy"
        assert do(lambda: logs_of.info("events")).next == 8
        assert do(lambda: logs_of.info("none")) is None
        assert [info.log_id for info in driver.all(lambda: logs_of.list())] == ["events"]
        assert do(lambda: logs_of.delete("events")) is True


def test_conversation_calls(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        talk, do = driver.client.conversations, driver.do
        chat = do(lambda: talk.create(metadata={"topic": "t"}))
        do(lambda: talk.create("mine"))
        with pytest.raises(errors.AlreadyExists):
            do(lambda: talk.create("mine"))
        stored = do(lambda: talk.append("mine", "user", "Hello", message_id="m1", valid_at=0, metadata={"a": 1}))
        assert stored == results.StoredMessage("m1", "mine", "user", stored.stored_at)
        new = [NewMessage("user", "Hello", "m1"), NewMessage("assistant", "Hi", "m2")]
        assert [each.duplicate for each in do(lambda: talk.append_many("mine", new, skip_duplicates=True))] == [
            True,
            False,
        ]
        with pytest.raises(errors.NotFound):
            do(lambda: talk.append("none", "user", "x"))
        with pytest.raises(errors.NotFound):
            do(lambda: talk.history("none"))
        history = do(lambda: talk.history("mine"))
        assert [(each.role, each.content, each.valid_at, each.metadata) for each in history.messages] == [
            ("user", "Hello", "1970-01-01T00:00:00.000000Z", {"a": 1}),
            ("assistant", "Hi", None, None),
        ]
        assert do(lambda: talk.history(chat.conversation_id)) == results.History(chat.conversation_id, [], 0)
        assert do(lambda: talk.info("mine")).total_messages == 2
        assert do(lambda: talk.info("none")) is None
        assert {info.conversation_id for info in driver.all(lambda: talk.list())} == {"mine", chat.conversation_id}
        assert do(lambda: talk.delete("mine")) is True


@pytest.mark.parametrize("page_items", [1, 2, 3, 7, 100])
def test_histories_are_whole_whatever_the_pages(daemon: FakeDaemon, drive: Drive, page_items: int) -> None:
    daemon.store.page_items = page_items
    with drive(daemon) as driver:
        talk, do = driver.client.conversations, driver.do
        do(lambda: talk.create("c"))
        do(lambda: talk.append_many("c", [NewMessage("user", f"{n}", f"m{n}") for n in range(7)]))

        def contents(**arguments: Any) -> str:
            history = do(lambda: talk.history("c", **arguments))
            assert history.total_messages == 7
            return "".join(message.content for message in history.messages)

        assert contents() == "0123456"
        assert contents(last=4) == "3456"
        assert contents(last=1_000_000) == "0123456"
        assert contents(after="m4") == "56"
        assert contents(after="m6") == ""
        assert contents(before="m3") == "012"
        assert contents(before="m3", last=2) == "12"
        assert contents(before="m0") == ""
        assert "".join(each.content for each in driver.all(lambda: talk.iterate("c"))) == "0123456"


def test_what_is_appended_while_older_pages_are_read_is_not_counted(daemon: FakeDaemon, client: Client) -> None:
    daemon.store.page_items = 2
    client.conversations.create("c")
    client.conversations.append_many("c", [NewMessage("user", f"{n}") for n in range(5)])
    append = ConversationAppend(("default",), "c", (WireMessage("user", "new"),))

    def script(received: Received) -> None:
        if len(daemon.of_type(ConversationHistory)) == 2:
            daemon.store.execute(append)

    daemon.script = script
    history = client.conversations.history("c", last=5)
    assert ("".join(message.content for message in history.messages), history.total_messages) == ("01234", 5)


def test_results_as_json_have_the_promised_shapes(client: Client) -> None:
    def shape(result: object) -> Any:
        return msgspec.json.decode(msgspec.json.encode(result))

    chat = client.conversations.create()
    assert list(shape(chat)) == ["conversation_id", "created_at"]
    stored = client.conversations.append(chat.conversation_id, "user", "Hello")
    assert list(shape(stored)) == ["message_id", "conversation_id", "role", "stored_at"]
    client.conversations.append(chat.conversation_id, "assistant", "Hi", valid_at="2026-01-31T12:00:00Z", metadata={})
    history = shape(client.conversations.history(chat.conversation_id))
    assert list(history) == ["conversation_id", "messages", "total_messages"]
    plain, full = history["messages"]
    assert list(plain) == ["message_id", "role", "content", "timestamp"]
    assert list(full) == ["message_id", "role", "content", "timestamp", "valid_at", "metadata"]
    assert full["valid_at"] == "2026-01-31T12:00:00.000000Z"
    assert full["metadata"] == {}


def test_calls_about_the_daemon(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        assert 0 < driver.do(lambda: driver.client.ping()) < 10
        assert driver.do(lambda: driver.client.status(namespaces=True)) == {"namespaces": True}
        driver.do(lambda: driver.client.with_namespace("acme", "a-7").state.put("k", 1))
        assert driver.all(lambda: driver.client.namespaces()) == [("acme", "a-7")]
        assert driver.do(lambda: driver.client.configure_history(count=5, age_s=60)) is None
        (configure,) = daemon.of_type(connection.NamespaceConfigure)
        assert configure.request == connection.NamespaceConfigure(("default",), 5, 60_000_000)
        assert driver.client.position == 2
        assert driver.do(lambda: driver.client.erase()) == results.Erasure(3, 2, running=True)
        assert not driver.do(lambda: driver.client.erase()).done
        assert driver.do(lambda: driver.client.erase(start=False)).done


def test_views_share_everything_but_namespace_and_options(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        view = driver.client.with_namespace("acme", "x").with_options(durability="async", timeout=5.0)
        assert view.namespace == ("acme", "x")
        assert driver.client.namespace == ("default",)
        driver.do(lambda: view.state.put("k", 1))
        driver.do(lambda: driver.client.state.put("k", 1))
        first, second = daemon.received
        assert (first.header.flags, second.header.flags) == (1, 0)
        assert first.header.deadline_ms <= 5_000 < second.header.deadline_ms
        assert [first.header.number, second.header.number] == [1, 2]
        assert view.position == driver.client.position == 2
        assert daemon.connections == 1


def test_reads_ask_for_the_clients_own_writes(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon, durability="async") as driver:
        driver.do(lambda: driver.client.state.put("k", 1))
        driver.do(lambda: driver.client.state.get("k"))
        write, read = daemon.received
        assert write.header.after == 0
        assert read.header.after == 1


def test_every_request_of_the_protocol_is_sent_by_some_call(daemon: FakeDaemon, drive: Drive) -> None:
    with drive(daemon) as driver:
        c, do = driver.client, driver.do
        call_all(driver)
        do(lambda: c.transact(commit_something if driver.face == "blocking" else commit_something_async))
        with_watch(driver)
        driver.within(c.batch(), lambda batch: batch.state.put("k", 1))
    sent = {type(received.request) for received in daemon.received}
    not_sent = {request.__name__ for request in table.REQUEST_TYPES if request not in sent}
    assert not_sent == {"Hello", "Unwatch"}, "a watch ends with its connection"


def call_all(driver: Driver) -> None:
    """Make each call once."""
    c, do = driver.client, driver.do
    do(c.ping)
    do(c.status)
    do(c.erase)
    do(lambda: c.configure_history(count=1, age_s=None))
    for call in (
        lambda: c.state.put("k", 1),
        lambda: c.state.get("k"),
        lambda: c.state.get_many(["k"]),
        lambda: c.state.get_values(["k"]),
        lambda: c.state.put_many({"k": 1}),
        lambda: c.state.history("k"),
        lambda: c.state.touch("k", 1),
        lambda: c.state.count(),
        lambda: c.state.delete("k"),
        lambda: c.state.delete_prefix("k"),
        lambda: c.logs.append("l", [1]),
        lambda: c.logs.read("l"),
        lambda: c.logs.truncate("l"),
        lambda: c.logs.copy("l", "m"),
        lambda: c.logs.pop_last("l"),
        lambda: c.logs.info("l"),
        lambda: c.logs.delete("l"),
        lambda: c.conversations.create("c"),
        lambda: c.conversations.append("c", "user", "x"),
        lambda: c.conversations.history("c"),
        lambda: c.conversations.info("c"),
        lambda: c.conversations.delete("c"),
        lambda: c.vector_spaces.create("s", 2),
        lambda: c.vector_spaces.alias("t", "s"),
        lambda: c.vector_spaces.list(),
        lambda: c.memories.add("x", memory_id="m"),
        lambda: c.memories.replace(NewMemory("y", "m")),
        lambda: c.memories.update("m", kind="fact"),
        lambda: c.memories.get("m"),
        lambda: c.memories.forget("m"),
        lambda: c.memories.supersede("m", "n"),
        lambda: c.memories.remember("m"),
        lambda: c.memories.count(),
        lambda: c.memories.list_page(),
        lambda: c.memories.history("m"),
        lambda: c.memories.search("x"),
        lambda: c.memories.configure_search(language="german", messages=True),
        lambda: c.memories.search_settings(),
        lambda: c.memories.context("x", tokens=10),
        lambda: c.conversations.create("d"),
        lambda: c.conversations.append("d", "user", "y"),
        lambda: c.vector_spaces.reembed("s", lambda texts: [[1.0, 2.0] for _ in texts], alias="t"),
        lambda: c.memories.delete("m"),
        lambda: c.vector_spaces.drop("s"),
    ):
        do(call)
    driver.all(lambda: c.conversations.iterate("d", vectors=True))
    for walk in (c.state.scan, c.logs.list, c.conversations.list, c.namespaces):
        driver.all(walk)


def commit_something(transaction: Any) -> None:
    transaction.state.put("k", 1)


async def commit_something_async(transaction: Any) -> None:
    transaction.state.put("k", 1)


def with_watch(driver: Driver) -> None:
    if driver.face == "blocking":
        driver.client.watch().close()
    else:
        driver.within(driver.client.watch(), lambda watch: None)


OPERATIONS = set(transactions.Operation.__args__)
SINGLE = {state.StateDeletePrefix, logs.LogPopLast, logs.LogCopy}


def test_what_may_join_a_transaction_is_declared_as_operation(daemon: FakeDaemon, client: Client) -> None:
    """The decorators `operation` and `command` part the writes exactly as the protocol does."""

    class Sorting:
        def __init__(self) -> None:
            self.found: dict[str, set[type]] = {"query": set(), "operation": set(), "command": set(), "walk": set()}

        def __getattr__(self, kind: str) -> Any:
            return lambda call: self.found[kind].add(type(call.request))

    face = Sorting()
    everything: Any = Everything(face, ("a",))

    class Collector(Driver):
        def __init__(self) -> None:
            self.face, self.client = "blocking", everything

        def do(self, function: Any) -> Any:
            return function()

        def all(self, function: Any) -> Any:
            return function()

    call_all(Collector())
    assert face.found["operation"] == OPERATIONS
    # What a command of several steps asks first may be a read.
    assert {request for request in face.found["command"] if issubclass(request, Write)} == SINGLE
    reads = face.found["query"] | face.found["walk"]
    assert not any(issubclass(request, Write) for request in reads)


def test_methods_carry_their_documentation(client: Client) -> None:
    assert "Write a record" in (client.state.put.__doc__ or "")
    assert list(inspect.signature(client.state.get).parameters) == ["key", "version", "as_of"]
