"""The tools, declared: name, title, description, what they do to the memory, what they take and give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import mcp_types as types
import msgspec
from msgspec import Struct

from recollectd.adapters.mcp import fields, memories
from recollectd.adapters.mcp.graph import Graph, UnknownEntity
from recollectd.adapters.mcp.memories import MemoryTexts
from recollectd.client import errors


class Memory(NamedTuple):
    """What tools work on."""

    graph: Graph
    texts: MemoryTexts


class Answer(NamedTuple):
    """A result; text: what is shown instead of the whole structure; bare: the one field that the text shows."""

    structure: Struct
    text: str = ""
    bare: str = ""


Function = Callable[[Memory, Any], Awaitable[Answer]]


class Tool(NamedTuple):
    """One tool. writes: whether it changes anything; deletes: whether it takes anything away."""

    title: str
    description: str
    arguments: type[Struct]
    result: type[Struct]
    function: Function
    writes: bool = False
    deletes: bool = False

    def declared(self, name: str) -> types.Tool:
        """Return the tool as clients are told of it."""
        return types.Tool(
            name=name,
            title=self.title,
            description=self.description,
            input_schema=fields.schema(self.arguments),
            output_schema=fields.schema(self.result),
            annotations=types.ToolAnnotations(
                read_only_hint=not self.writes,
                destructive_hint=self.deletes,
                idempotent_hint=self.deletes or not self.writes,
                open_world_hint=False,
            ),
        )


async def _create_entities(memory: Memory, given: fields.Entities) -> Answer:
    return Answer(fields.Entities(await memory.graph.create_entities(given.entities)), bare="entities")


async def _create_relations(memory: Memory, given: fields.Relations) -> Answer:
    return Answer(fields.Relations(await memory.graph.create_relations(given.relations)), bare="relations")


async def _add_observations(memory: Memory, given: fields.Additions) -> Answer:
    return Answer(fields.Results(await memory.graph.add_observations(given.observations)), bare="results")


async def _delete_entities(memory: Memory, given: fields.EntityNames) -> Answer:
    await memory.graph.delete_entities(given.entity_names)
    return _done("Entities deleted successfully")


async def _delete_observations(memory: Memory, given: fields.Deletions) -> Answer:
    await memory.graph.delete_observations(given.deletions)
    return _done("Observations deleted successfully")


async def _delete_relations(memory: Memory, given: fields.Relations) -> Answer:
    await memory.graph.delete_relations(given.relations)
    return _done("Relations deleted successfully")


def _done(message: str) -> Answer:
    return Answer(fields.Outcome(True, message), text=message)


async def _read_graph(memory: Memory, given: fields.Nothing) -> Answer:
    return Answer(await memory.graph.read_graph())


async def _search_nodes(memory: Memory, given: fields.Query) -> Answer:
    return Answer(await memory.graph.search_nodes(given.query))


async def _open_nodes(memory: Memory, given: fields.Names) -> Answer:
    return Answer(await memory.graph.open_nodes(given.names))


async def _remember(memory: Memory, given: memories.Remember) -> Answer:
    return Answer(await memory.texts.remember(given))


async def _recall(memory: Memory, given: memories.Recall) -> Answer:
    return Answer(await memory.texts.recall(given))


async def _forget(memory: Memory, given: memories.Forget) -> Answer:
    return Answer(await memory.texts.forget(given))


async def _context(memory: Memory, given: memories.Context) -> Answer:
    found = await memory.texts.context(given)
    return Answer(found, text=found.text or "Nothing is known about this.")


async def _history(memory: Memory, given: memories.History) -> Answer:
    return Answer(await memory.texts.history(given))


TOOLS: Final[dict[str, Tool]] = {
    "create_entities": Tool(
        "Create Entities",
        "Create multiple new entities in the knowledge graph",
        *(fields.Entities, fields.Entities, _create_entities),
        writes=True,
    ),
    "create_relations": Tool(
        "Create Relations",
        "Create multiple new relations between entities in the knowledge graph. Relations should be in active voice",
        *(fields.Relations, fields.Relations, _create_relations),
        writes=True,
    ),
    "add_observations": Tool(
        "Add Observations",
        "Add new observations to existing entities in the knowledge graph",
        *(fields.Additions, fields.Results, _add_observations),
        writes=True,
    ),
    "delete_entities": Tool(
        "Delete Entities",
        "Delete multiple entities and their associated relations from the knowledge graph",
        *(fields.EntityNames, fields.Outcome, _delete_entities),
        writes=True,
        deletes=True,
    ),
    "delete_observations": Tool(
        "Delete Observations",
        "Delete specific observations from entities in the knowledge graph",
        *(fields.Deletions, fields.Outcome, _delete_observations),
        writes=True,
        deletes=True,
    ),
    "delete_relations": Tool(
        "Delete Relations",
        "Delete multiple relations from the knowledge graph",
        *(fields.Relations, fields.Outcome, _delete_relations),
        writes=True,
        deletes=True,
    ),
    "read_graph": Tool("Read Graph", "Read the entire knowledge graph", fields.Nothing, fields.GraphPart, _read_graph),
    "search_nodes": Tool(
        "Search Nodes",
        "Search for nodes in the knowledge graph based on a query",
        *(fields.Query, fields.GraphPart, _search_nodes),
    ),
    "open_nodes": Tool(
        "Open Nodes",
        "Open specific nodes in the knowledge graph by their names",
        *(fields.Names, fields.GraphPart, _open_nodes),
    ),
    "remember": Tool(
        "Remember",
        "Keep a fact, decision or preference for later conversations. Say it in one sentence that makes sense alone; "
        "the same sentence is kept once. When something known has changed, give its id: its older wording stays in its "
        "history.",
        *(memories.Remember, memories.Memory, _remember),
        writes=True,
    ),
    "recall": Tool(
        "Recall",
        "Find what was remembered, the best answers first. Words are compared by their stems, rare ones count more; "
        "other words for the same thing are not known, so give those it was probably said in.",
        *(memories.Recall, memories.Memories, _recall),
    ),
    "forget": Tool(
        "Forget",
        "Take back one memory by its id: it is found no more. Its wordings stay in its history unless it is deleted.",
        *(memories.Forget, memories.Forgotten, _forget),
        writes=True,
        deletes=True,
    ),
    "context": Tool(
        "Context",
        "Collect what is remembered about something, and what the knowledge graph has on it, into one text of a given "
        "length. Call it at the beginning of a task.",
        *(memories.Context, memories.ContextText, _context),
    ),
    "history": Tool(
        "History",
        "List what was remembered last, the newest first; with an id, the wordings of that memory, the newest first",
        *(memories.History, memories.Memories, _history),
    ),
}


async def call(memory: Memory, name: str, given: dict[str, Any] | None) -> types.CallToolResult:
    """Carry out a tool; what is wrong with the call, or with the daemon, is a result that says so."""
    tool = TOOLS.get(name)
    if tool is None:
        return _refused(f"Tool {name} not found")
    try:
        # As JSON: the SDK has decoded what no other encoding can carry, such as half of a surrogate pair.
        arguments = msgspec.convert(given or {}, tool.arguments)
        answer = await tool.function(memory, arguments)
    except msgspec.ValidationError as error:
        return _refused(f"Input validation error: Invalid arguments for tool {name}: {error}")
    except UnicodeEncodeError:
        return _refused(f"Input validation error: Invalid arguments for tool {name}: text that is no Unicode")
    except UnknownEntity as error:
        return _refused(str(error))
    except errors.RecollectdError as error:
        return _refused(f"{type(error).__name__}: {error}" + (f" ({error.hint})" if error.hint else ""))
    shown = getattr(answer.structure, answer.bare) if answer.bare else answer.structure
    text = types.TextContent(text=answer.text or fields.text_of(shown))
    return types.CallToolResult(content=[text], structured_content=msgspec.to_builtins(answer.structure))


def _refused(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=message)], is_error=True)
