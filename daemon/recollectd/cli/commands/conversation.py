"""recollectd conversation: conversations and their messages."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import click

from recollectd.cli.connecting import with_client, with_json, with_namespace
from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import report
from recollectd.cli.inputs import time
from recollectd.cli.output import count, one_line, print_json, print_table
from recollectd.cli.values import metadata, read_text, vectors

if TYPE_CHECKING:
    from recollectd.client import Client


@click.group()
def conversation() -> None:
    """Read and write conversations."""


@conversation.command()
@click.argument("conversation_id", required=False)
@click.option("--metadata", type=metadata, metavar="JSON", help="An object to keep with it.")
@with_json
@with_namespace
@with_client
def create(client: Client, conversation_id: str | None, metadata: dict[str, Any] | None, as_json: bool) -> None:
    """Begin a conversation, by CONVERSATION_ID or an id from the daemon."""
    created = client.conversations.create(conversation_id, metadata=metadata)
    if as_json:
        print_json(created)
    else:
        click.echo(f"created {created.conversation_id}")


@conversation.command()
@click.argument("conversation_id")
@click.argument("role", type=click.Choice(["user", "assistant"]))
@click.argument("content")
@click.option("--message-id", help="An id of your own; one that is known is refused.")
@click.option("--valid-at", type=time, metavar="TIME", help="When it was said, if that is not now.")
@click.option("--metadata", type=metadata, metavar="JSON", help="An object to keep with it.")
@click.option("--vector", multiple=True, metavar="SPACE=JSON", help="A vector; may be repeated.")
@with_json
@with_namespace
@with_client
def append(
    client: Client,
    conversation_id: str,
    role: str,
    content: str,
    vector: tuple[str, ...],
    as_json: bool,
    **more: Any,
) -> None:
    """Append a message; CONTENT - reads it from standard input."""
    stored = client.conversations.append(conversation_id, role, read_text(content), vectors=vectors(vector), **more)
    if as_json:
        print_json(stored)
    else:
        click.echo(f"stored {stored.message_id}")


@conversation.command()
@click.argument("conversation_id")
@click.option("--last", type=click.IntRange(min=1), help="The newest so many.")
@click.option("--before", metavar="MESSAGE_ID", help="The messages before this one.")
@click.option("--after", metavar="MESSAGE_ID", help="The messages after this one.")
@with_json
@with_namespace
@with_client
def history(
    client: Client, conversation_id: str, last: int | None, before: str | None, after: str | None, as_json: bool
) -> None:
    """Print the messages in order, all of them or a part."""
    read = client.conversations.history(conversation_id, last=last, before=before, after=after)
    if as_json:
        print_json(read)
        return
    for message in read.messages:
        click.echo(f"{message.timestamp}  {message.role}: {message.content}")
    click.echo(f"{len(read.messages):,} of {count(read.total_messages, 'message')}", err=True)


@conversation.command("list")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@with_json
@with_namespace
@with_client
def list_command(client: Client, limit: int | None, as_json: bool) -> None:
    """List conversations, the last used first; with --json one a line."""
    listed = itertools.islice(client.conversations.list(), limit)
    if as_json:
        for info in listed:
            print_json(info)
        return
    print_table(
        ((info.conversation_id, info.total_messages, info.created_at, info.last_used_at) for info in listed),
        ("conversation", "messages", "created", "last used"),
    )


@conversation.command()
@click.argument("conversation_id")
@with_json
@with_namespace
@with_client
def show(client: Client, conversation_id: str, as_json: bool) -> int | None:
    """Show a conversation's times, size and metadata. Ends with 66 when there is none."""
    info = client.conversations.info(conversation_id)
    if as_json:
        print_json(info)
    if info is None:
        report(f"there is no conversation {conversation_id!r} in this namespace")
        return ExitCode.NO_INPUT
    if not as_json:
        click.echo(f"{info.conversation_id}: {count(info.total_messages, 'message')}")
        click.echo(f"created {info.created_at}, last used {info.last_used_at}")
        if info.metadata:
            click.echo(f"metadata {one_line(info.metadata)}")
    return None


@conversation.command()
@click.argument("conversation_id")
@with_json
@with_namespace
@with_client
def delete(client: Client, conversation_id: str, as_json: bool) -> None:
    """Delete a conversation and its messages."""
    deleted = client.conversations.delete(conversation_id)
    if as_json:
        print_json({"conversation_id": conversation_id, "deleted": deleted})
    else:
        click.echo(f"deleted {conversation_id}" if deleted else f"there was no conversation {conversation_id}")
