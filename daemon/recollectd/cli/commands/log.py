"""recollectd log: ordered logs, item by position."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from recollectd.cli.connecting import with_client, with_json, with_namespace
from recollectd.cli.inputs import time
from recollectd.cli.output import count, line_width, one_line, print_json, print_table
from recollectd.cli.values import STDIN, parse_json, read_text

if TYPE_CHECKING:
    from recollectd.client import Client


@click.group()
def log() -> None:
    """Read and write ordered logs."""


@log.command()
@click.argument("log_id")
@click.argument("items", nargs=-1, required=True)
@click.option("--text", is_flag=True, help="Each ITEM is text, not JSON.")
@click.option("--if-next", type=click.IntRange(min=0), help="Only if the first item will get this position.")
@with_json
@with_namespace
@with_client
def append(client: Client, log_id: str, items: tuple[str, ...], text: bool, if_next: int | None, as_json: bool) -> None:
    """Append ITEMS, all or none: JSON, or text with --text; - reads one a line from standard input."""
    values = [value for item in items for value in _values(item, text)]
    if not values:
        raise click.UsageError("There is nothing to append.")
    appended = client.logs.append(log_id, values, if_next=if_next)
    if as_json:
        print_json(appended)
    else:
        click.echo(f"appended {count(len(values), 'item')} to {log_id} from position {appended.first} on")


def _values(item: str, text: bool) -> list[Any]:
    if item != STDIN:
        return [item if text else parse_json(item, "ITEM")]
    lines = read_text(STDIN).splitlines() if text else sys.stdin.buffer.read().splitlines()
    return [
        line if text else parse_json(line, f"line {number} of standard input")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


@log.command()
@click.argument("log_id")
@click.option("--start", type=click.IntRange(min=0), help="From this position on.")
@click.option("--before", type=click.IntRange(min=0), help="The items that lie before this position.")
@click.option("--last", type=click.IntRange(min=1), help="The newest so many.")
@click.option("--since", type=time, metavar="TIME", help="From the first item stored at this time or later.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@with_json
@with_namespace
@with_client
def read(
    client: Client,
    log_id: str,
    start: int | None,
    before: int | None,
    last: int | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Read one page of items, by default from the first; at most one of --start, --before, --last, --since."""
    chosen = {"start": start, "before": before, "last": last, "since": since}
    where: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    if len(where) > 1:
        raise click.UsageError("Give at most one of --start, --before, --last and --since.")
    page = client.logs.read(log_id, **where, limit=max(limit, last or 0))
    if as_json:
        print_json(page)
        return
    width = line_width()
    for item in page.items:
        head = f"{item.position}  {item.stored_at}  "
        click.echo(head + one_line(item.value, max(width - len(head), 20) if width else 0))
    if page.items and page.items[-1].position + 1 < page.next:
        click.echo(f"more with --start {page.items[-1].position + 1}; the log ends at {page.next}", err=True)


@log.command("list")
@click.argument("prefix", default="")
@with_json
@with_namespace
@with_client
def list_command(client: Client, prefix: str, as_json: bool) -> None:
    """List logs, all or those whose ids begin with PREFIX; with --json one a line."""
    if as_json:
        for info in client.logs.list(prefix):
            print_json(info)
        return
    print_table(
        ((info.log_id, info.first, info.next, info.updated_at) for info in client.logs.list(prefix)),
        ("log", "first", "next", "updated"),
    )


@log.command()
@click.argument("log_id")
@with_json
@with_namespace
@with_client
def delete(client: Client, log_id: str, as_json: bool) -> None:
    """Delete a log and its items."""
    deleted = client.logs.delete(log_id)
    if as_json:
        print_json({"log_id": log_id, "deleted": deleted})
    else:
        click.echo(f"deleted {log_id}" if deleted else f"there was no log {log_id}")
