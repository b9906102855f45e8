"""recollectd status and namespaces: what there is in a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from recollectd.cli.connecting import with_client, with_json
from recollectd.cli.inputs import parse_namespace, show_namespace
from recollectd.cli.output import dumps, print_json

if TYPE_CHECKING:
    from recollectd.client import Client


@click.command()
@click.option("--namespaces", is_flag=True, help="Count records by namespace too; this walks every record.")
@with_json
@with_client
def status(client: Client, namespaces: bool, as_json: bool) -> None:
    """Show how the daemon is: uptime, connections, operations, journal, records, memory."""
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
    if isinstance(content, dict) and content:
        for name, inner in content.items():
            yield from _flattened(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(content, str):
        yield path, content
    elif isinstance(content, int) and not isinstance(content, bool):
        yield path, f"{content:,}"
    elif isinstance(content, float):
        yield path, f"{content:,.3f}"
    else:
        yield path, dumps(content)


@click.command()
@click.argument("prefix", default="")
@with_json
@with_client
def namespaces(client: Client, prefix: str, as_json: bool) -> None:
    """List the namespaces that have records, all or those below PREFIX; with --json one a line, as its labels."""
    for labels in client.namespaces(parse_namespace([prefix]) if prefix else ()):
        click.echo(dumps(list(labels)) if as_json else show_namespace(labels))
