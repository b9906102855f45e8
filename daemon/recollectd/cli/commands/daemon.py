"""recollectd status and namespaces: what there is in a daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from recollectd.cli.connecting import with_client, with_json
from recollectd.cli.inputs import parse_namespace, show_namespace
from recollectd.cli.output import dumps, print_json, size
from recollectd.protocol import errors

if TYPE_CHECKING:
    from recollectd.client import Client


KIB: Final = 1024
ERASE_POLL_S: Final = 0.1


@click.command()
@click.option("--namespaces", is_flag=True, help="Count records by namespace too; this walks every record.")
@with_json
@with_client
def status(client: Client, namespaces: bool, as_json: bool) -> None:
    """Show how the daemon is.

    Uptime, connections, operations by kind, journal, records, caches, memory and processor.
    """
    answer = client.status(namespaces=namespaces)
    if as_json:
        print_json(answer)
        return
    for section, content in answer.items():
        click.echo(section)
        for name, text in _flattened(content):
            click.echo(f"  {name:<32} {text}".rstrip())


def _flattened(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and texts of what may be nested to any depth."""
    if isinstance(content, dict):
        for name, inner in content.items():
            yield from _flattened(inner, f"{path}.{name}" if path else str(name))
        if not content:
            yield path or "none", ""
    else:
        yield path, _shown(path, content)


def _shown(path: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:,.3f}"
    if not isinstance(value, int) or isinstance(value, bool):
        return dumps(value)
    if path == "pid":
        return str(value)
    return f"{value:,}  ({size(value)})" if path.endswith("bytes") and value >= KIB else f"{value:,}"


@click.command()
@click.option("--no-wait", is_flag=True, help="Only ask for it.")
@with_json
@with_client
def erase(client: Client, no_wait: bool, as_json: bool) -> None:
    """Erase deleted memories from the files of searches.

    No byte of what was deleted or replaced before stays in them. History, journal and backups keep what they keep.
    """
    found = client.erase()
    while not (no_wait or found.done or found.failure):
        time.sleep(ERASE_POLL_S)
        found = client.erase(start=False)
    if as_json:
        print_json(found)
    elif found.failure:
        raise errors.Busy(f"not erased yet, the daemon tries again: {found.failure}", retry_after_ms=60_000)
    else:
        click.echo("erased" if found.done else "asked for")


@click.command()
@click.argument("prefix", default="")
@with_json
@with_client
def namespaces(client: Client, prefix: str, as_json: bool) -> None:
    """List the namespaces that have records.

    All, or those that begin with PREFIX; with --json one a line, as its labels.
    """
    for labels in client.namespaces(parse_namespace([prefix]) if prefix else ()):
        click.echo(dumps(list(labels)) if as_json else show_namespace(labels))
