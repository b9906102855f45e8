"""Our MCP server against the reference: the same official client, the same random calls, equal results.

Then what the reference cannot do: several processes that write at once and lose nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import Client as McpClient

from recollectd.adapters.mcp.fields import Relation
from recollectd.adapters.mcp.graph import Graph
from recollectd.client import AsyncClient, Client
from recollectd.testing import Daemon
from support.mcp_clients import ours, reference

without_node = pytest.mark.skipif(shutil.which("npm") is None, reason="the reference server needs node and npm")

NAMES: Final = ("Ada", "Bob", "ada", "Café ☕", "a:b/*", "nul\0l", "🦆", "", "n" * 2_000, "İstanbul")
TYPES: Final = ("person", "Place", "")
TEXTS: Final = ("likes tea", "Likes coffee", "lives in İstanbul", "ΣΟΦΙΑΣ", "", "x" * 300, '"quoted"\n\\')
QUERIES: Final = ("", "tea", "LIKES", "ada", "zzz", "σοφίας", "🦆", "i̇", ":")


def several(rng: random.Random, make: Callable[[], Any], most: int = 4) -> list[Any]:
    return [make() for _ in range(rng.randrange(most))]


def random_call(rng: random.Random) -> tuple[str, dict[str, Any]]:
    def name() -> str:
        return rng.choice(NAMES)

    def text() -> str:
        return rng.choice(TEXTS)

    def entity() -> dict[str, Any]:
        return {"name": name(), "entityType": rng.choice(TYPES), "observations": several(rng, text)}

    def relation() -> dict[str, Any]:
        return {"from": name(), "to": name(), "relationType": rng.choice(TYPES)}

    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "create_entities": lambda: {"entities": several(rng, entity, 5)},
        "create_relations": lambda: {"relations": several(rng, relation, 5)},
        "add_observations": lambda: {
            "observations": several(rng, lambda: {"entityName": name(), "contents": several(rng, text)})
        },
        "delete_entities": lambda: {"entityNames": several(rng, name, 3)},
        "delete_observations": lambda: {
            "deletions": several(rng, lambda: {"entityName": name(), "observations": several(rng, text)})
        },
        "delete_relations": lambda: {"relations": several(rng, relation)},
        "read_graph": dict,
        "search_nodes": lambda: {"query": rng.choice(QUERIES)},
        "open_nodes": lambda: {"names": several(rng, name)},
    }
    weights = (5, 5, 4, 1, 2, 1, 1, 2, 2)
    tool = rng.choices(list(makers), weights)[0]
    arguments = makers[tool]()
    if rng.random() < 0.03:
        arguments = rng.choice(({}, {key: 7 for key in arguments}, {key: [7] for key in arguments}))
    return tool, arguments


async def answer(client: McpClient, tool: str, arguments: dict[str, Any]) -> Any:
    result = await client.call_tool(tool, arguments)
    texts = [content.model_dump()["text"] for content in result.content]
    if result.is_error and not texts[0].startswith("Entity with name"):
        return "invalid arguments" if "Input validation error" in texts[0] else texts
    return result.is_error, result.structured_content, texts


async def compare(client: Client, url: str, file: Path, sequences: int, seed: int) -> int:
    """Return how many calls gave equal results; the first that did not raises AssertionError."""
    calls = 0
    async with ours(url, client.namespace) as mine, reference(file) as theirs:
        for sequence in range(sequences):
            rng = random.Random(f"{seed}-{sequence}")
            done: list[Any] = []
            for _ in range(rng.randrange(3, 16)):
                tool, arguments = random_call(rng)
                done.append((tool, arguments))
                expected, found = await asyncio.gather(answer(theirs, tool, arguments), answer(mine, tool, arguments))
                assert found == expected, f"seed {seed}, sequence {sequence}: {done}"
                calls += 1
            assert await answer(mine, "read_graph", {}) == await answer(theirs, "read_graph", {}), done
            everyone = {"entityNames": list(NAMES)}
            await asyncio.gather(*(one.call_tool("delete_entities", everyone) for one in (mine, theirs)))
    return calls


@without_node
@pytest.mark.timeout(240)
def test_random_sequences_give_equal_results(client: Client, daemon: Daemon, tmp_path: Path) -> None:
    assert asyncio.run(compare(client, daemon.url, tmp_path / "memory.jsonl", 60, seed=1)) > 300


@without_node
@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_a_thousand_random_sequences_give_equal_results(client: Client, daemon: Daemon, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    assert asyncio.run(compare(client, daemon.url, tmp_path / "memory.jsonl", 1_000, seed)) > 5_000


@without_node
def test_tools_and_resource_are_declared_like_the_references(client: Client, daemon: Daemon, tmp_path: Path) -> None:
    async def declared(opened: McpClient) -> dict[str, Any]:
        async with opened as mcp:
            tools = {tool.name: tool for tool in (await mcp.list_tools()).tools}
            resources = {str(one.uri): one for one in (await mcp.list_resources()).resources}
            return {"tools": tools, "resources": resources, "capabilities": mcp.server_capabilities}

    theirs = asyncio.run(declared(reference(tmp_path / "memory.jsonl")))
    mine = asyncio.run(declared(ours(daemon.url, client.namespace)))
    for name, tool in theirs["tools"].items():
        found = mine["tools"][name]
        assert (found.title, found.description) == (tool.title, tool.description)
        assert set(found.input_schema["properties"]) == set(tool.input_schema["properties"])
        assert found.input_schema.get("required", []) == tool.input_schema.get("required", [])
        assert set(found.output_schema["properties"]) == set(tool.output_schema["properties"])
        for hint in ("read_only_hint", "destructive_hint", "idempotent_hint", "open_world_hint"):
            assert getattr(found.annotations, hint) == getattr(tool.annotations, hint), (name, hint)
    for uri, resource in theirs["resources"].items():
        found = mine["resources"][uri]
        assert (found.name, found.title, found.mime_type) == (resource.name, resource.title, resource.mime_type)
    assert mine["capabilities"].resources.subscribe is True
    assert set(mine["tools"]) - set(theirs["tools"]) == {"remember", "recall", "forget", "context", "history"}


PROCESSES: Final = 8
ROUNDS: Final = 10


async def _work(client: McpClient, number: int) -> None:
    for index in range(ROUNDS):
        name = f"{number}-{index}"
        entity = {"name": name, "entityType": "item", "observations": ["made"]}
        assert not (await client.call_tool("create_entities", {"entities": [entity]})).is_error
        relation = {"from": name, "to": "hub", "relationType": "belongs to"}
        assert not (await client.call_tool("create_relations", {"relations": [relation]})).is_error
        addition = {"entityName": "hub", "contents": [f"seen by {name}"]}
        assert not (await client.call_tool("add_observations", {"observations": [addition]})).is_error


async def _all_at_once(url: str, namespace: tuple[str, ...]) -> dict[str, Any]:
    async with ours(url, namespace) as first:
        hub = {"name": "hub", "entityType": "hub", "observations": []}
        await first.call_tool("create_entities", {"entities": [hub]})

        async def one(number: int) -> None:
            async with ours(url, namespace) as client:
                await _work(client, number)

        await asyncio.gather(*(one(number) for number in range(PROCESSES)))
        result = await first.call_tool("read_graph", {})
        graph: dict[str, Any] = result.structured_content
        return graph


def test_eight_processes_at_once_lose_nothing(client: Client, daemon: Daemon) -> None:
    graph = asyncio.run(_all_at_once(daemon.url, client.namespace))
    names = {f"{number}-{index}" for number in range(PROCESSES) for index in range(ROUNDS)}
    assert {entity["name"] for entity in graph["entities"]} == {"hub", *names}
    assert {relation["from"] for relation in graph["relations"]} == names
    (hub,) = (entity for entity in graph["entities"] if entity["name"] == "hub")
    assert sorted(hub["observations"]) == sorted(f"seen by {name}" for name in names)


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")  # the way of today's clients
def test_a_change_by_another_process_is_told(client: Client, daemon: Daemon) -> None:
    async def run() -> str:
        told = asyncio.Event()

        async def listen(message: Any) -> None:
            if getattr(message, "method", "") == "notifications/resources/updated":
                told.set()

        async with (
            ours(daemon.url, client.namespace, message_handler=listen) as one,
            ours(daemon.url, client.namespace) as other,
        ):
            await one.subscribe_resource("memory://knowledge-graph")
            entity = {"name": "Ada", "entityType": "person", "observations": []}
            await other.call_tool("create_entities", {"entities": [entity]})
            async with asyncio.timeout(30):
                await told.wait()
            read = await one.read_resource("memory://knowledge-graph")
            text: str = read.contents[0].model_dump()["text"]
            return text

    graph = json.loads(asyncio.run(run()))
    assert [entity["name"] for entity in graph["entities"]] == ["Ada"]


def test_a_client_that_listens_is_told_of_changes_by_other_processes(client: Client, daemon: Daemon) -> None:
    async def run() -> None:
        async with (
            ours(daemon.url, client.namespace, mode="auto") as one,
            ours(daemon.url, client.namespace) as other,
            asyncio.timeout(30),
            one.listen(resource_subscriptions=["memory://knowledge-graph"]) as news,
        ):
            for name in ("Ada", "Bob"):
                entity: dict[str, Any] = {"name": name, "entityType": "person", "observations": []}
                await other.call_tool("create_entities", {"entities": [entity]})
                assert getattr(await anext(aiter(news)), "uri", "") == "memory://knowledge-graph"

    asyncio.run(run())


def test_no_relation_slips_past_the_deletion_of_its_end(daemon: Daemon, namespace: tuple[str, ...]) -> None:
    """What is stored of a relation is there on both sides or on none, however creating and deleting meet."""
    relations = [Relation(f"e{number}", "hub", "knows") for number in range(30)]

    async def create() -> None:
        async with AsyncClient(daemon.url, namespace=namespace) as client:
            for relation in relations:
                await Graph(client).create_relations([relation])

    async def delete() -> None:
        async with AsyncClient(daemon.url, namespace=namespace) as client:
            for _ in range(30):
                await Graph(client).delete_entities(["hub"])

    async def run() -> tuple[set[str], set[str], list[Relation]]:
        await asyncio.gather(create(), delete(), create(), delete())
        async with AsyncClient(daemon.url, namespace=namespace) as client:
            graph = Graph(client)
            found = {
                prefix: {record.key.rpartition("/")[2] async for record in graph.client.state.scan(prefix)}
                for prefix in ("from/", "to/")
            }
            left = (await graph.read_graph()).relations
            await graph.delete_entities(["hub"])
            assert (await graph.read_graph()).relations == []
            return found["from/"], found["to/"], left

    there, back, left = asyncio.run(run())
    assert there == back
    assert len(there) == len(left)


def test_a_relation_made_while_its_end_is_deleted_goes_with_it(
    daemon: Daemon, namespace: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = [Relation("early", "hub", "knows"), Relation("hub", "late", "knows")]

    async def run() -> list[Relation]:
        async with AsyncClient(daemon.url, namespace=namespace) as client:
            graph, other = Graph(client), Graph(client)
            await graph.create_relations(meeting[:1])
            look = graph._relations_of
            looked = 0

            async def look_and_be_overtaken(name: str) -> dict[str, str]:
                nonlocal looked
                looked += 1
                found = await look(name)
                await other.create_relations(meeting[1:])
                return found

            monkeypatch.setattr(graph, "_relations_of", look_and_be_overtaken)
            await graph.delete_entities(["hub"])
            assert looked == 2, "what came between made it look again"
            return (await graph.read_graph()).relations

    assert asyncio.run(run()) == []


@without_node
def test_the_references_file_is_taken_in_once(client: Client, daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "memory.jsonl"

    async def fill() -> Any:
        async with reference(file) as theirs:
            rng = random.Random(3)
            for _ in range(40):
                tool, arguments = random_call(rng)
                await theirs.call_tool(tool, arguments)
            return await answer(theirs, "read_graph", {})

    async def graph() -> Any:
        async with ours(daemon.url, client.namespace) as mine:
            return await answer(mine, "read_graph", {})

    expected = asyncio.run(fill())

    def take_in() -> dict[str, int]:
        words = ["mcp", "--url", daemon.url, "-n", "/".join(client.namespace), "import", "--json", str(file)]
        done = subprocess.run([sys.executable, "-m", "recollectd", *words], check=True, capture_output=True)
        report: dict[str, int] = json.loads(done.stdout)
        return report

    first = take_in()
    assert first["new_entities"] == first["entities"] == len(expected[1]["entities"]) > 0
    assert first["new_relations"] == first["relations"] == len(expected[1]["relations"]) > 0
    assert asyncio.run(graph()) == expected
    again = take_in()
    assert (again["new_entities"], again["new_relations"], again["new_observations"]) == (0, 0, 0)
    assert asyncio.run(graph()) == expected


def texts_in(result: Any) -> list[str]:
    assert not result.is_error, result.content
    return [memory["text"] for memory in result.structured_content["memories"]]


def test_what_one_remembers_the_other_recalls(client: Client, daemon: Daemon) -> None:
    async def run() -> None:
        async with ours(daemon.url, client.namespace) as one, ours(daemon.url, client.namespace) as other:
            await one.call_tool("remember", {"text": "Ada prefers green tea", "tags": ["taste"]})
            await other.call_tool("remember", {"text": "The office moves to Lisbon"})
            await other.call_tool("remember", {"text": "Bob drinks coffee", "tags": ["taste", 'a "b"']})
            assert texts_in(await other.call_tool("recall", {"query": "which teas does Ada drink?"})) == [
                "Ada prefers green tea",
                "Bob drinks coffee",
            ]
            tagged = {"query": "tea, coffee, office", "tags": ["taste", 'a "b"']}
            assert texts_in(await one.call_tool("recall", tagged)) == ["Bob drinks coffee"]
            newest = await one.call_tool("history", {"limit": 2})
            assert texts_in(newest) == ["Bob drinks coffee", "The office moves to Lisbon"]
            entity = {"name": "Lisbon", "entityType": "city", "observations": ["by the sea"]}
            await one.call_tool("create_entities", {"entities": [entity]})
            context = await other.call_tool("context", {"query": "Where is the office in Lisbon?"})
            assert "moves to Lisbon" in context.structured_content["text"]
            assert "Lisbon (city): by the sea" in context.structured_content["text"]
            short = await other.call_tool("context", {"query": "Lisbon office tea coffee", "characters": 100})
            assert 0 < len(short.structured_content["text"]) <= 100
            assert texts_in(await one.call_tool("recall", {"query": "zebra"})) == []

    asyncio.run(run())
    with daemon.client(namespace=(*client.namespace, "memories")) as other:
        assert other.memories.count('metadata.tags contains "taste"') == 2


def test_a_memory_is_reworded_and_forgotten(client: Client, daemon: Daemon) -> None:
    async def run() -> None:
        async with ours(daemon.url, client.namespace) as one:
            first = (await one.call_tool("remember", {"text": "Ada prefers green tea"})).structured_content
            again = (await one.call_tool("remember", {"text": "Ada prefers green tea"})).structured_content
            assert again == first
            changed = await one.call_tool("remember", {"text": "Ada prefers black tea", "id": first["id"]})
            assert (changed.structured_content["id"], changed.structured_content["version"]) == (first["id"], 2)
            assert texts_in(await one.call_tool("recall", {"query": "tea"})) == ["Ada prefers black tea"]
            wordings = await one.call_tool("history", {"id": first["id"]})
            assert texts_in(wordings) == ["Ada prefers black tea", "Ada prefers green tea"]
            forget = {"id": first["id"]}
            assert (await one.call_tool("forget", forget)).structured_content == {"forgotten": True}
            for tool, words in (("recall", {"query": "tea"}), ("history", {})):
                assert texts_in(await one.call_tool(tool, words)) == []
            assert texts_in(await one.call_tool("history", forget)) == texts_in(wordings)
            back = (await one.call_tool("remember", {"text": "Ada prefers black tea"})).structured_content
            assert back["id"] != first["id"]
            tagged = await one.call_tool("remember", {"text": "Ada prefers black tea", "tags": ["taste"]})
            assert tagged.structured_content == {**back, "tags": ["taste"], "version": 2}
            await one.call_tool("forget", {"id": back["id"], "delete": True})
            deleted = await one.call_tool("forget", {**forget, "delete": True})
            assert deleted.structured_content == {"forgotten": True}
            assert texts_in(await one.call_tool("recall", {"query": "tea"})) == []
            deleted = await one.call_tool("forget", {**forget, "delete": True})
            assert deleted.structured_content == {"forgotten": False}
            for bad in ({"text": ""}, {"text": 7}, {}, {"text": "x", "tags": [1]}, {"text": "x", "id": "unknown"}):
                assert (await one.call_tool("remember", bad)).is_error
            for tool, bad in (("forget", {"id": "unknown"}), ("recall", {"query": ""}), ("history", {"limit": 0})):
                assert (await one.call_tool(tool, bad)).is_error

    asyncio.run(run())
