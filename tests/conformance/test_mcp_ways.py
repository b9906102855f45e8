"""Our MCP server on its ways to clients: pipes, files, HTTP; names, messages and daemons as they should not be."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import Client as McpClient

from recollectd.adapters.mcp.graph import Graph
from recollectd.adapters.mcp.memories import MemoryTexts
from recollectd.adapters.mcp.tools import Memory, call
from recollectd.client import AsyncClient, Client
from recollectd.testing import Daemon
from support.mcp_clients import ours
from support.waiting import until


def test_http_on_the_loopback(client: Client, daemon: Daemon) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["mcp", "--url", daemon.url, "-n", "/".join(client.namespace), "--http", str(port)]
    server = subprocess.Popen([sys.executable, "-m", "recollectd", *words])

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    async def run() -> None:
        async with McpClient(f"http://127.0.0.1:{port}/mcp") as one, McpClient(f"http://127.0.0.1:{port}/mcp") as other:
            await one.call_tool("remember", {"text": "over HTTP"})
            found = await other.call_tool("recall", {"query": "http"})
            assert [memory["text"] for memory in found.structured_content["memories"]] == ["over HTTP"]

    try:
        until(listens)
        asyncio.run(run())
    finally:
        server.terminate()
        server.wait(30)
    refused = subprocess.run(
        [sys.executable, "-m", "recollectd", *words, "--host", "0.0.0.0"], capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 65
    assert "host" in refused.stderr


def lines_of(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages)


HELLO: Final = {
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def answers_to(process: subprocess.Popen[bytes], count: int) -> dict[Any, Any]:
    assert process.stdout is not None
    found = [json.loads(process.stdout.readline()) for _ in range(count)]
    return {answer["id"]: answer for answer in found}


def test_what_is_no_message_ends_nothing(client: Client, daemon: Daemon) -> None:
    words = [sys.executable, "-m", "recollectd", "mcp", "--url", daemon.url, "-n", "/".join(client.namespace)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(b'no message\n\xff\xfe\n{"jsonrpc": "2.0"}\n\n' + lines_of(HELLO))
        process.stdin.flush()
        assert answers_to(process, 1)[1]["result"]["serverInfo"]["name"] == "recollectd"
        listed = lines_of({"method": "notifications/initialized"}, {"id": 2, "method": "tools/list"})
        process.stdin.write(b"[]\n" + listed)
        process.stdin.flush()
        assert len(answers_to(process, 1)[2]["result"]["tools"]) == 14
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("tool", ["create_entities", "search_nodes", "remember", "recall", "forget"])
def test_half_an_emoji_is_refused(client: Client, daemon: Daemon, tool: str) -> None:
    bad = "half \ud83d"
    every: dict[str, dict[str, Any]] = {
        "create_entities": {"entities": [{"name": bad, "entityType": bad, "observations": [bad]}]},
        "search_nodes": {"query": bad},
        "remember": {"text": bad, "tags": [bad]},
        "recall": {"query": bad},
        "forget": {"id": bad},
    }

    async def run() -> None:
        async with AsyncClient(daemon.url, namespace=client.namespace) as ours:
            graph = Graph(ours)
            answer = await call(Memory(graph, MemoryTexts(ours, graph)), tool, every[tool])
            assert answer.is_error or answer.structured_content == {"entities": [], "relations": []}
            assert (await graph.read_graph()).entities == []

    asyncio.run(run())
    assert client.with_namespace(*client.namespace, "memories").memories.count() == 0


def test_files_stand_for_pipes(client: Client, daemon: Daemon, tmp_path: Path) -> None:
    given, got = tmp_path / "given", tmp_path / "got"
    given.write_bytes(lines_of(HELLO))
    words = [sys.executable, "-m", "recollectd", "mcp", "--url", daemon.url, "-n", "/".join(client.namespace)]
    with given.open("rb") as stdin, got.open("wb") as stdout:
        assert subprocess.run(words, stdin=stdin, stdout=stdout, check=False, timeout=60).returncode == 0
    assert json.loads(got.read_bytes())["result"]["serverInfo"]["name"] == "recollectd"


@pytest.mark.parametrize("name", ["x" * 10_000, "a\u0000b", "🦆" * 300])
def test_hostile_names(client: Client, daemon: Daemon, name: str) -> None:
    async def run() -> None:
        async with ours(daemon.url, client.namespace) as mine:
            entity = {"name": name, "entityType": name, "observations": [name]}
            assert not (await mine.call_tool("create_entities", {"entities": [entity]})).is_error
            relation = {"from": name, "to": name, "relationType": name}
            assert not (await mine.call_tool("create_relations", {"relations": [relation]})).is_error
            read = await mine.call_tool("open_nodes", {"names": [name]})
            assert read.structured_content == {"entities": [entity], "relations": [relation]}
            await mine.call_tool("delete_entities", {"entityNames": [name]})
            read = await mine.call_tool("read_graph", {})
            assert read.structured_content == {"entities": [], "relations": []}

    asyncio.run(run())


def test_a_daemon_that_is_away_is_said_and_a_restart_is_survived(tmp_path: Path) -> None:
    entity = {"name": "Ada", "entityType": "person", "observations": []}

    async def run(daemon: Daemon) -> None:
        async with ours(daemon.url, ("restarts",), "--timeout", "1s") as mine:
            daemon.kill()
            away = await mine.call_tool("create_entities", {"entities": [entity]})
            assert away.is_error
            assert "DaemonUnavailable" in str(away.content) or "RequestTimeout" in str(away.content)
            daemon.start()
            read = await mine.call_tool("read_graph", {})
            assert read.structured_content["entities"] == []
        async with ours(daemon.url, ("restarts",)) as mine:
            assert not (await mine.call_tool("create_entities", {"entities": [entity]})).is_error
            daemon.restart(kill=True)
            added = {"observations": [{"entityName": "Ada", "contents": ["is back"]}]}
            assert not (await mine.call_tool("add_observations", added)).is_error
            read = await mine.call_tool("read_graph", {})
            assert read.structured_content["entities"][0]["observations"] == ["is back"]

    with Daemon(tmp_path) as daemon:
        asyncio.run(run(daemon))
    assert os.path.exists(daemon.data)
