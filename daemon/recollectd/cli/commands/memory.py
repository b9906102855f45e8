"""recollectd memory, search: semantic memories."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from recollectd.cli.connecting import with_client, with_json, with_namespace
from recollectd.cli.inputs import time
from recollectd.cli.output import line_width, print_json, print_table, print_value
from recollectd.cli.values import named_vectors, parse_json, read_text
from recollectd.protocol import errors

if TYPE_CHECKING:
    from recollectd.client import Client
    from recollectd.client.results import Memory, MemoryHit, MemoryRank

_TEXT_WIDTH_MIN = 20


@click.group()
def memory() -> None:
    """Read and write semantic memories."""


@memory.command()
@click.argument("text")
@click.option("--id", "memory_id", help="An id of your own.")
@click.option("--kind", default="", help="What sort of memory it is.")
@click.option("--metadata", metavar="JSON", help="A JSON object.")
@click.option("--importance", type=click.FloatRange(0, 1), help="0 to 1.")
@click.option("--pinned", is_flag=True, help="The daemon never drops it.")
@click.option("--valid-at", type=time, metavar="TIME", help="When it was true.")
@click.option("--place", type=float, nargs=2, metavar="LATITUDE LONGITUDE", help="Where, in degrees.")
@click.option("--conversation", "conversation_id", help="The conversation it was said in.")
@click.option("--derived-from", multiple=True, metavar="ID", help="What it was made from; may be repeated.")
@click.option("--vector", multiple=True, metavar="SPACE=JSON", help="A vector; may be repeated.")
@click.option("--ttl", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Gone after so long.")
@click.option("--if-new", is_flag=True, help="Only if the namespace has no memory with this id or very text.")
@with_json
@with_namespace
@with_client
def add(client: Client, text: str, metadata: str | None, vector: tuple[str, ...], as_json: bool, **told: Any) -> None:
    """Add a memory; - reads its TEXT from standard input."""
    told["place"] = told["place"] or None
    stored = client.memories.add(
        read_text(text) if text == "-" else text,
        metadata=None if metadata is None else parse_json(metadata, "--metadata"),
        vectors=named_vectors(vector),
        **told,
    )
    if as_json:
        print_json(stored)
    else:
        click.echo(f"{'there was' if stored.duplicate else 'added'} {stored.memory_id}, version {stored.version}")


@memory.command()
@click.argument("memory_id")
@click.option("--vectors", is_flag=True, help="With its vectors.")
@with_json
@with_namespace
@with_client
def get(client: Client, memory_id: str, vectors: bool, as_json: bool) -> None:
    """Print a memory's text, or with --json everything known of it."""
    found = client.memories.get(memory_id, vectors=vectors)
    if found is None:
        raise errors.NotFound(f"there is no memory {memory_id!r} in this namespace")
    if as_json:
        print_json(found)
    else:
        print_value(found.text)


@memory.command("list")
@click.argument("filter", default="")
@click.option("--hidden", is_flag=True, help="Also what is forgotten or superseded.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@with_json
@with_namespace
@with_client
def list_command(client: Client, filter: str, hidden: bool, limit: int | None, as_json: bool) -> None:
    """List memories, all or those that match FILTER, such as 'kind == "fact" and importance > 0.5'."""
    found = client.memories.list(filter, hidden=hidden, limit=limit)
    if as_json:
        for each in found:
            print_json(each)
        return
    print_table(
        ((each.memory_id, each.kind, each.valid_at or each.created_at, _shortened(each.text, 60)) for each in found),
        ("memory", "kind", "time", "text"),
    )


@memory.command()
@click.argument("memory_id")
@with_json
@with_namespace
@with_client
def forget(client: Client, memory_id: str, as_json: bool) -> None:
    """Hide a memory from lists and searches without deleting it."""
    forgotten_at = client.memories.forget(memory_id)
    if as_json:
        print_json({"memory_id": memory_id, "forgotten_at": forgotten_at})
    else:
        click.echo(f"forgot {memory_id}")


@memory.command()
@click.argument("memory_id")
@with_json
@with_namespace
@with_client
def delete(client: Client, memory_id: str, as_json: bool) -> None:
    """Delete a memory, with its vectors and its place in every index."""
    deleted = client.memories.delete(memory_id)
    if as_json:
        print_json({"memory_id": memory_id, "deleted": deleted})
    else:
        click.echo(f"deleted {memory_id}" if deleted else f"there was no memory {memory_id}")


@click.command()
@click.argument("text", default="")
@click.option("--vector", multiple=True, metavar="SPACE=JSON", help="Also by this vector; may be repeated.")
@click.option("--filter", default="", help="Only memories that match.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=10, show_default=True, help="At most so many.")
@click.option("--as-of", type=time, metavar="TIME", help="What was known then.")
@click.option("--hidden", is_flag=True, help="Also what is forgotten or superseded.")
@click.option(
    "--among",
    type=click.Choice(("memories", "messages", "both")),
    default="memories",
    show_default=True,
    help="Messages are those of conversations.",
)
@click.option(
    "--mode",
    type=click.Choice(("keyword", "vector", "hybrid")),
    help="By which of them; without it, by what is given.",
)
@click.option("--ids", is_flag=True, help="Ids and scores by the arms alone, nothing of what memories say.")
@with_json
@with_namespace
@with_client
def search(
    client: Client,
    text: str,
    vector: tuple[str, ...],
    filter: str,
    limit: int,
    as_of: datetime | None,
    hidden: bool,
    among: Any,
    mode: Any,
    ids: bool,
    as_json: bool,
) -> None:
    """Search memories by the words of TEXT, by vectors, or both; the best first, with how the scores came to be."""
    if ids:
        if among != "memories":
            raise click.UsageError("--ids goes with memories alone: messages are told by conversation and position")
        asked = client.memories.rank(
            text, vectors=named_vectors(vector), filter=filter, limit=limit, as_of=as_of, hidden=hidden, mode=mode
        )
        _print_ranks(asked, as_json=as_json)
        return
    found = client.memories.search(
        text,
        vectors=named_vectors(vector),
        filter=filter,
        limit=limit,
        as_of=as_of,
        hidden=hidden,
        explain=True,
        among=among,
        mode=mode,
    )
    if as_json:
        for hit in found.hits:
            print_json(hit)
        return
    width = max(line_width() - 60, _TEXT_WIDTH_MIN) if line_width() else 0
    print_table(
        ((f"{hit.score:.3f}", _arms(hit), _name(hit.memory), _highlighted(hit, width)) for hit in found.hits),
        ("score", "arms (rank)", "memory", "text"),
    )


def _print_ranks(ranks: list[MemoryRank], *, as_json: bool) -> None:
    if as_json:
        for rank in ranks:
            print_json(rank._asdict())
    else:
        print_table(((f"{rank.score:.3f}", rank.memory_id) for rank in ranks), ("score", "memory"))


def _name(memory: Memory) -> str:
    """Return the id of a memory; of a message, where it is."""
    return f"{memory.conversation_id}#{memory.position}" if memory.role else memory.memory_id


def _arms(hit: MemoryHit) -> str:
    details = hit.score_details
    return " ".join(f"{each.arm} ({each.rank})" for each in details.arms) if details is not None else ""


def _highlighted(hit: MemoryHit, width: int) -> str:
    """Return the text with words of the query between asterisks."""
    parts: list[str] = []
    at = 0
    for begin, end in hit.highlights or ():
        parts += [hit.memory.text[at:begin], "*", hit.memory.text[begin:end], "*"]
        at = end
    return _shortened("".join((*parts, hit.memory.text[at:])), width)


def _shortened(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if not width or len(line) <= width else line[: width - 1] + "…"


@click.command("search-settings")
@click.option("--language", help="Of texts and queries: english, german, ...; or none.")
@click.option("--stemming/--no-stemming", default=None, help="Whether forms of a word are one.")
@click.option("--stop-words/--no-stop-words", default=None, help="Whether words that say nothing are left out.")
@click.option("--messages/--no-messages", default=None, help="Whether messages of conversations are found, too.")
@click.option("--accesses/--no-accesses", default=None, help="Whether it is counted how often memories are found.")
@with_json
@with_namespace
@with_client
def search_settings(client: Client, as_json: bool, **given: Any) -> None:
    """Show, or with options set, how the namespace is searched by words."""
    sets = any(value is not None for value in given.values())
    told = client.memories.configure_search(**given) if sets else client.memories.search_settings()
    if as_json:
        print_json(told)
        return
    yes = {True: "yes", False: "no"}
    rows = (
        ("language", told.language),
        ("stemming", yes[told.stemming]),
        ("stop words", yes[told.stop_words]),
        ("messages", yes[told.messages]),
        ("accesses", yes[told.accesses]),
        ("being indexed", yes[told.indexing]),
    )
    print_table(rows, ("setting", "is"))
