"""The server: tools and the resource over one client of the daemon, for one client on stdio or many over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import mcp_types as types
import uvloop
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp.shared.exceptions import MCPError

import recollectd
from recollectd.adapters.mcp import fields, layout
from recollectd.adapters.mcp.graph import Graph
from recollectd.adapters.mcp.memories import MemoryTexts
from recollectd.adapters.mcp.stdio import standard_streams
from recollectd.adapters.mcp.tools import TOOLS, Memory, call
from recollectd.client import AsyncClient, errors

RESOURCE: Final = "memory://knowledge-graph"
INSTRUCTIONS: Final = (
    "A memory that outlives conversations and is shared with everybody who uses it. Look at `context` first; keep what "
    "will matter later with `remember`, and people, things and how they hang together in the graph."
)
_LOG: Final = logging.getLogger("recollectd.adapters.mcp")
_AGAIN_S: Final = 0.5

Context = ServerRequestContext[Any, Any]


class Subscribers:
    """Who is told when the graph changes, by whomever; the daemon is asked for news from the first of them on."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._sessions: dict[int, ServerSession] = {}
        self._watching: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()

    async def add(self, session: ServerSession) -> None:
        """Tell a session's client from now on."""
        self._sessions[_connection(session)] = session
        await self._watch()

    def remove(self, session: ServerSession) -> None:
        """Tell it no more."""
        self._sessions.pop(_connection(session), None)

    async def listen(
        self, ctx: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Tell a client by the answer to this request, for as long as it waits for more."""
        await self._watch()
        return await self._listen(ctx, params)

    async def end(self) -> None:
        """Ask for no more news."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching

    async def _watch(self) -> None:
        if self._watching is None:
            self._watching = asyncio.create_task(self._follow())
        await self._begun.wait()  # what happens after the answer is told

    async def _follow(self) -> None:
        while True:
            try:
                async with self._client.watch(layout.CHANGES, kinds=("log",)) as watch:
                    self._begun.set()
                    async for change in watch:
                        if change.operation == "append" and change.namespace == self._client.namespace:
                            await self._tell()
            except errors.ClientClosed:
                self._begun.set()
                return
            except errors.RecollectdError as error:
                _LOG.warning("changes by others are not told for now: %s", error)
                self._begun.set()
                await asyncio.sleep(_AGAIN_S)
                await self._tell()  # something may have changed meanwhile

    async def _tell(self) -> None:
        await self._bus.publish(ResourceUpdated(uri=RESOURCE))
        for session in list(self._sessions.values()):
            try:
                await session.send_resource_updated(RESOURCE)
            except Exception as error:  # whatever a closed connection raises
                _LOG.debug("a subscriber is gone: %s", error)
                self.remove(session)


def _connection(session: ServerSession) -> int:
    # Each request has a session object of its own; what lasts is the connection below it.
    return id(getattr(session, "_connection", session))


@asynccontextmanager
async def serving(client: AsyncClient) -> AsyncIterator[Server[Any]]:
    """Give a server over the client's namespace; closes nothing of the client."""
    graph = Graph(client)
    memory = Memory(graph, MemoryTexts(client, graph))
    subscribers = Subscribers(graph.client)
    await graph.prepare()
    try:
        yield _server(memory, subscribers)
    finally:
        await subscribers.end()


def _server(memory: Memory, subscribers: Subscribers) -> Server[Any]:
    async def list_tools(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool.declared(name) for name, tool in TOOLS.items()])

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await call(memory, params.name, params.arguments)

    async def list_resources(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[_RESOURCE])

    async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        if str(params.uri) != RESOURCE:
            raise MCPError(types.INVALID_PARAMS, f"Resource {params.uri} not found")
        try:
            graph = await memory.graph.read_graph()
        except errors.RecollectdError as error:
            raise MCPError(types.INTERNAL_ERROR, f"{type(error).__name__}: {error}") from error
        shown = types.TextResourceContents(uri=RESOURCE, mime_type="application/json", text=fields.text_of(graph))
        return types.ReadResourceResult(contents=[shown])

    async def subscribe(ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        if str(params.uri) == RESOURCE:
            await subscribers.add(ctx.session)
        return types.EmptyResult()

    async def unsubscribe(ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        if str(params.uri) == RESOURCE:
            subscribers.remove(ctx.session)
        return types.EmptyResult()

    server: Server[Any] = Server(
        "recollectd",
        version=recollectd.__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_subscriptions_listen=subscribers.listen,
    )
    server.middleware.clear()  # tracing that nobody collects, on every message
    return server


_RESOURCE: Final = types.Resource(
    uri=RESOURCE,
    name="knowledge-graph",
    title="Knowledge Graph",
    description="The full knowledge graph with all entities and relations",
    mime_type="application/json",
)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop to serve on: a call takes a tenth less of it than of asyncio's own."""
    return uvloop.new_event_loop()


async def serve_stdio(client: AsyncClient) -> None:
    """Serve one client on standard input and output, until it closes them."""
    async with serving(client) as server, standard_streams() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def serve_http(client: AsyncClient, host: str, port: int) -> None:
    """Serve clients over streamable HTTP at http://HOST:PORT/mcp, until interrupted; host: of the loopback alone.

    Raises InvalidArgument for another host: the server asks nobody who they are.
    """
    import uvicorn

    if host not in ("127.0.0.1", "::1", "localhost"):
        raise errors.InvalidArgument(f"must be 127.0.0.1, ::1 or localhost, not {host!r}", field="host")
    async with serving(client) as server:
        application = server.streamable_http_app(host=host)
        await uvicorn.Server(uvicorn.Config(application, host=host, port=port, log_level="warning")).serve()
