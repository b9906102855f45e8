"""recollectd search, search-settings, and memory search: what memories and messages say, and how they are searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from recollectd.cli.connecting import with_client, with_json, with_namespace
from recollectd.cli.inputs import time
from recollectd.cli.output import print_json, print_table, shortened, width_left
from recollectd.cli.values import vectors

if TYPE_CHECKING:
    from recollectd.client import Client
    from recollectd.client.results import Memory, MemoryHit, MemoryRank

_AMONG = click.option(
    "--among",
    type=click.Choice(("memories", "messages", "both")),
    default="memories",
    show_default=True,
    help="Messages are those of conversations.",
)


@click.command(short_help="Search memories by words, vectors, or both.")
@click.argument("text", default="")
@click.option("--vector", multiple=True, metavar="SPACE=JSON", help="Also by this vector; may be repeated.")
@click.option("--mode", type=click.Choice(("keyword", "vector", "hybrid")), help="By what; else by what is given.")
@click.option("--filter", default="", help="Only memories that match.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=10, show_default=True, help="At most so many.")
@click.option("--as-of", type=time, metavar="TIME", help="What was known then.")
@click.option("--min-score", type=float, default=0.0, metavar="SCORE", help="At least this score; 0: any.")
@click.option("--exact", is_flag=True, help="Compare with every vector, instead of asking a graph.")
@click.option("--hidden", is_flag=True, help="Also what is forgotten or superseded.")
@_AMONG
@click.option("--ids", is_flag=True, help="Ids and scores by the arms alone, nothing of what memories say.")
@with_json
@with_namespace
@with_client
def search(
    client: Client, text: str, vector: tuple[str, ...], among: Any, ids: bool, as_json: bool, **told: Any
) -> None:
    """Search memories by the words of TEXT, by vectors, or both; the best first, with how the scores came to be."""
    if ids:
        if among != "memories":
            raise click.UsageError("--ids goes with memories alone: messages are told by conversation and position")
        _print_ranks(client.memories.rank(text, vectors=vectors(vector), **told), as_json=as_json)
        return
    found = client.memories.search(text, vectors=vectors(vector), explain=True, among=among, **told)
    if as_json:
        for hit in found.hits:
            print_json(hit)
        return
    headings = ("score", "arms (rank)", "memory", "text")
    rows = [(f"{hit.score:.3f}", _arms(hit), _name(hit.memory), _highlighted(hit)) for hit in found.hits]
    width = width_left(headings, rows)
    print_table(((*row[:-1], shortened(row[-1], width)) for row in rows), headings)


@click.command()
@click.argument("text")
@click.option("--tokens", type=click.IntRange(min=1), default=1_000, show_default=True, help="The budget.")
@click.option("--filter", default="", help="Only memories that match.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="At most so many results.")
@click.option(
    "--beside", type=click.IntRange(0, 8), default=1, show_default=True, help="So many on each side of a result."
)
@click.option("--as-of", type=time, metavar="TIME", help="What was known then.")
@_AMONG
@with_json
@with_namespace
@with_client
def context(client: Client, text: str, as_json: bool, **told: Any) -> None:
    """Print what fits TEXT best, with what was said beside it and with its dates, within a budget of tokens."""
    assembled = client.memories.context(text, **told)
    if as_json:
        print_json(assembled)
    else:
        click.echo(assembled.text, nl=bool(assembled.text))


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


def _highlighted(hit: MemoryHit) -> str:
    """Return the text with words of the query between asterisks."""
    parts: list[str] = []
    at = 0
    for begin, end in hit.highlights or ():
        parts += [hit.memory.text[at:begin], "*", hit.memory.text[begin:end], "*"]
        at = end
    return "".join((*parts, hit.memory.text[at:]))


@click.command("search-settings", short_help="Show or set how a namespace is searched by words.")
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
