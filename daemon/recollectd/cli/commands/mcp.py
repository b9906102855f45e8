"""recollectd mcp: a memory server for MCP clients, and the way to it from the reference server's file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recollectd.cli.connecting import NAMESPACE_DEFAULT, with_json, with_namespace
from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import Failure
from recollectd.cli.inputs import duration, parse_namespace

if TYPE_CHECKING:
    from recollectd.client import AsyncClient

Command = Callable[..., Any]


@contextmanager
def _packages() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise Failure(
            f"the MCP server needs the package {(error.name or '').partition('.')[0]}, which is not installed",
            hint="pip install 'recollectd[mcp]'",
            code=ExitCode.UNAVAILABLE,
        ) from error


def _with_address(function: Command) -> Command:
    for option in (
        click.option(
            "--timeout", type=duration, metavar="DURATION", default=30.0, help="For each call. [default: 30s]"
        ),
        click.option("--local", type=click.Path(path_type=Path), help="A folder: its daemon is found, or started."),
        click.option("--url", envvar="RECOLLECTD_URL", help="unix:///PATH or tcp://HOST:PORT."),
        click.option("--socket", "socket_path", type=click.Path(path_type=Path), help="The daemon's Unix socket."),
    ):
        function = option(function)
    return with_namespace(function)


@click.group(invoke_without_command=True)
@_with_address
@click.option("--http", "port", type=click.IntRange(1, 65_535), metavar="PORT", help="HTTP instead of stdio.")
@click.option("--host", default="127.0.0.1", help="For --http; of the loopback alone. [default: 127.0.0.1]")
@click.pass_context
def mcp(ctx: click.Context, /, port: int | None, host: str, **address: Any) -> None:
    """Serve the memory to MCP clients.

    On standard input and output, for the client that starts it; with --http at http://127.0.0.1:PORT/mcp. Any number
    may serve one namespace at once. In a client's configuration:

    \b
      {"mcpServers": {"memory": {"command": "recollectd", "args": ["mcp", "--local", "FOLDER"]}}}
    """
    ctx.obj = address
    if ctx.invoked_subcommand is not None:
        return
    with _packages():
        from recollectd.adapters.mcp.server import new_event_loop, serve_http, serve_stdio
    if port is None:
        _run(address, serve_stdio, new_event_loop)
    else:
        _run(address, lambda client: serve_http(client, host, port), new_event_loop)


@mcp.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@with_json
@click.pass_obj
def import_command(address: dict[str, Any], file: Path, as_json: bool) -> None:
    """Take in the memory file of the reference server (memory.jsonl). It may be run again: nothing is added twice."""
    with _packages():
        from recollectd.adapters.mcp.graph import Graph
        from recollectd.adapters.mcp.importing import Imported, import_file

    async def take_in(client: AsyncClient) -> Imported:
        with file.open("rb") as lines:
            return await import_file(Graph(client), lines)

    imported: Imported = _run(address, take_in)
    if as_json:
        from recollectd.cli.output import print_json

        print_json(imported._asdict())
    else:
        click.echo(
            f"{imported.entities} entities ({imported.new_entities} new, {imported.new_observations} observations added"
            f" to others), {imported.relations} relations ({imported.new_relations} new)"
        )


def _run(
    address: dict[str, Any],
    use: Callable[[AsyncClient], Awaitable[Any]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Any:
    from recollectd.client import AsyncClient

    local, url, socket_path, timeout = (address[key] for key in ("local", "url", "socket_path", "timeout"))
    if local is not None and socket_path is not None:
        raise click.UsageError("Give --local or --socket, not both.")
    namespace = parse_namespace(address["namespace"]) if address["namespace"] else NAMESPACE_DEFAULT
    if socket_path is not None:
        url = f"unix://{socket_path.absolute()}"

    async def run() -> Any:
        if local is not None:
            client = await AsyncClient.local(local, namespace=namespace, timeout=timeout, name="mcp")
        else:
            client = AsyncClient(url or None, namespace=namespace, timeout=timeout, name="mcp")
        async with client:
            return await use(client)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(run())
