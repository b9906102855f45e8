"""recollectd memory: semantic memories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from recollectd.cli.commands.search import context, search
from recollectd.cli.connecting import with_client, with_json, with_namespace
from recollectd.cli.inputs import time
from recollectd.cli.output import print_json, print_table, print_value, shortened, width_left
from recollectd.cli.values import metadata, read_text, vectors
from recollectd.protocol import errors

if TYPE_CHECKING:
    from recollectd.client import Client


@click.group()
def memory() -> None:
    """Read and write semantic memories."""


memory.add_command(search)
memory.add_command(context)


@memory.command()
@click.argument("text")
@click.option("--id", "memory_id", help="An id of your own.")
@click.option("--kind", default="", help="What sort of memory it is.")
@click.option("--metadata", type=metadata, metavar="JSON", help="A JSON object.")
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
def add(client: Client, text: str, vector: tuple[str, ...], as_json: bool, **told: Any) -> None:
    """Add a memory; - reads its TEXT from standard input."""
    told["place"] = told["place"] or None
    stored = client.memories.add(read_text(text), vectors=vectors(vector), **told)
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
def get(client: Client, memory_id: str, as_json: bool, **told: Any) -> None:
    """Print a memory's text, or with --json everything known of it."""
    found = client.memories.get(memory_id, **told)
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
    headings = ("memory", "kind", "time", "text")
    rows = [(each.memory_id, each.kind, each.valid_at or each.created_at, each.text) for each in found]
    width = width_left(headings, rows, most=60)
    print_table(((*row[:-1], shortened(row[-1], width)) for row in rows), headings)


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
def remember(client: Client, memory_id: str, as_json: bool) -> None:
    """Undo `forget`."""
    client.memories.remember(memory_id)
    if as_json:
        print_json({"memory_id": memory_id})
    else:
        click.echo(f"remembered {memory_id}")


@memory.command()
@click.argument("memory_id")
@click.argument("superseded_by")
@with_json
@with_namespace
@with_client
def supersede(client: Client, memory_id: str, superseded_by: str, as_json: bool) -> None:
    """Say that SUPERSEDED_BY took the place of MEMORY_ID, which hides that."""
    superseded_at = client.memories.supersede(memory_id, superseded_by)
    if as_json:
        print_json({"memory_id": memory_id, "superseded_by": superseded_by, "superseded_at": superseded_at})
    else:
        click.echo(f"{superseded_by} took the place of {memory_id}")


@memory.command()
@click.argument("memory_id")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@with_json
@with_namespace
@with_client
def history(client: Client, memory_id: str, limit: int | None, as_json: bool) -> None:
    """Show what a memory said, version by version, the newest first."""
    versions = client.memories.history(memory_id, limit=limit)
    if not versions:
        raise errors.NotFound(f"there is no memory {memory_id!r} in this namespace")
    if as_json:
        for each in versions:
            print_json(each)
        return
    headings = ("version", "time", "text")
    rows = [
        (str(each.version), each.updated_at, "(gone)" if each.memory is None else each.memory.text) for each in versions
    ]
    width = width_left(headings, rows, most=60)
    print_table(((*row[:-1], shortened(row[-1], width)) for row in rows), headings)


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
