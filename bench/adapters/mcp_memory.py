"""The MCP server against the reference, both on stdio with the official client: tools at 5,000 entities, and safety.

Ours answers when the change is synced; the reference when its file was renamed, without a sync. Both do the same work
turn about, so many calls at a time; before each turn what was written meanwhile is brought to the disk, for ours would
wait for the reference's unsynced file. Needs node and npm for the reference; without them its rows are not run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psutil
from mcp import Client, StdioServerParameters

from bench.load import throwaway_daemon
from bench.machine import ROOT
from bench.process import DaemonProcess
from bench.report import Report

PACKAGE: Final = "@modelcontextprotocol/server-memory@2026.8.31"
PEER: Final = "server-memory 2026.8.31"
ENTITIES: Final = 5_000
CALLS: Final = 200
TURN_CALLS: Final = 20
PROCESSES: Final = 8
WRITES: Final = 20


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Measure both."""
    with throwaway_daemon(arguments.folder) as daemon, tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        asyncio.run(_run(daemon, Path(name), report))


def _ours(daemon: DaemonProcess) -> Client:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "daemon")}
    words = ["-P", "-m", "recollectd", "mcp", "--socket", str(daemon.socket)]
    return Client(StdioServerParameters(command=sys.executable, args=words, env=environment), mode="legacy")


async def _installed(folder: Path) -> Path | None:
    """Install the reference and return its script; None where there is no npm."""
    if shutil.which("npm") is None:
        return None
    (folder / "package.json").write_text('{"private": true}\n')
    words = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE)
    npm = await asyncio.create_subprocess_exec(*words, cwd=folder)
    if await npm.wait():
        return None
    return folder / "node_modules" / PACKAGE.rpartition("@")[0] / "dist" / "index.js"


def _reference(script: Path, file: Path) -> Client:
    environment = {"PATH": os.environ["PATH"], "MEMORY_FILE_PATH": str(file)}
    return Client(StdioServerParameters(command="node", args=[str(script)], env=environment), mode="legacy")


async def _run(daemon: DaemonProcess, folder: Path, report: Report) -> None:
    script = await _installed(folder)
    file = folder / "memory.jsonl"
    clients = {"ours": _ours(daemon)}
    if script is not None:
        clients["theirs"] = _reference(script, file)
    found: dict[str, dict[str, list[float]]] = {}
    async with asyncio.TaskGroup() as group:
        opened = {side: await _enter(group, client) for side, client in clients.items()}
        for client, _ in opened.values():
            await _fill(client)
        for start in range(0, CALLS, TURN_CALLS):
            for side, (client, _) in opened.items():
                os.sync()
                for number in range(start, start + TURN_CALLS):
                    for tool, words in _calls(number).items():
                        took = await _timed(client, tool, words)
                        found.setdefault(tool, {}).setdefault(side, []).append(took)
        cpu = {side: await _cpu_ms(client, daemon if side == "ours" else None) for side, (client, _) in opened.items()}
        for _, leave in opened.values():
            leave.set()
    case = f"{ENTITIES:,} entities, one client; fdatasync before reply / file renamed, no sync"
    for tool, sides in found.items():
        theirs = statistics.median(sides["theirs"]) if "theirs" in sides else None
        must = "< 2" if tool == "add_observations" else None
        ours = statistics.median(sides["ours"])
        report.add(f"{tool} p50", case, unit="ms", ours=ours, theirs=theirs, peer=PEER, must=must)
    what = "  its CPU, of server and daemon"
    report.add(what, case, unit="ms", ours=cpu["ours"], theirs=cpu.get("theirs"), peer=PEER)
    lost = await _lost([_ours(daemon) for _ in range(PROCESSES + 1)])
    theirs_lost = None
    if script is not None:
        file.unlink()
        theirs_lost = await _lost([_reference(script, file) for _ in range(PROCESSES + 1)])
    case = f"{PROCESSES} processes at once, {PROCESSES * WRITES} acknowledged entities"
    report.add("entities lost", case, unit="entities", ours=lost, theirs=theirs_lost, peer=PEER, must="== 0")


async def _enter(group: asyncio.TaskGroup, client: Client) -> tuple[Client, asyncio.Event]:
    """Open a client in a task of its own, which also closes it: so its cancel scopes nest."""
    ready, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with client:
            ready.set()
            await leave.wait()

    group.create_task(hold())
    await ready.wait()
    return client, leave


async def _fill(client: Client) -> None:
    for start in range(0, ENTITIES, 500):
        entities = [
            {"name": f"entity {n}", "entityType": "thing", "observations": [f"observation {n} of a thing"] * 2}
            for n in range(start, start + 500)
        ]
        await client.call_tool("create_entities", {"entities": entities})


def _calls(number: int) -> dict[str, dict[str, Any]]:
    name = f"entity {(number * 37) % ENTITIES}"
    return {
        "add_observations": {"observations": [{"entityName": name, "contents": [f"seen {number}"]}]},
        "create_relations": {"relations": [{"from": name, "to": f"entity {number}", "relationType": "knows"}]},
        "search_nodes": {"query": f"observation {4_000 + number} "},
        "open_nodes": {"names": [name]},
    }


async def _cpu_ms(client: Client, daemon: DaemonProcess | None) -> float:
    """Return what add_observations costs the server, and the daemon behind ours: it does not depend on other work."""
    ours = daemon is not None
    servers = [one for one in psutil.Process().children(recursive=True) if ("mcp" in one.cmdline()) == ours]
    servers = [one for one in servers if ours or one.name().startswith("node")]

    def used() -> float:
        return sum(one.cpu_times().user + one.cpu_times().system for one in servers) + (
            daemon.cost().cpu_s if daemon is not None else 0
        )

    before = used()
    for number in range(CALLS):
        addition = {"entityName": f"entity {number}", "contents": ["counted"]}
        await client.call_tool("add_observations", {"observations": [addition]})
    return (used() - before) / CALLS * 1_000


async def _timed(client: Client, tool: str, arguments: dict[str, Any]) -> float:
    started = time.perf_counter()
    result = await client.call_tool(tool, arguments)
    took = (time.perf_counter() - started) * 1_000
    if result.is_error:
        raise RuntimeError(f"{tool} failed: {result.content}")
    return took


async def _lost(clients: list[Client]) -> int:
    """Return how many acknowledged entities the first client does not find when all others have written."""
    acknowledged: set[str] = set()

    async def work(number: int, client: Client) -> None:
        async with client:
            for index in range(WRITES):
                name = f"writer {number} {index}"
                entity = {"name": name, "entityType": "thing", "observations": []}
                if not (await client.call_tool("create_entities", {"entities": [entity]})).is_error:
                    acknowledged.add(name)

    await asyncio.gather(*(work(number, client) for number, client in enumerate(clients[1:], 1)))
    async with clients[0] as reader:
        graph: Any = (await reader.call_tool("read_graph", {})).structured_content
    return len(acknowledged - {entity["name"] for entity in graph["entities"]})
