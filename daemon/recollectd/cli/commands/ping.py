"""recollectd ping: a sign of life. It is called by scripts again and again, so it imports next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recollectd.cli.connecting import with_client, with_json

if TYPE_CHECKING:
    from recollectd.client import Client


@click.command()
@with_json
@with_client
def ping(client: Client, as_json: bool) -> None:
    """Ask the daemon for a sign of life."""
    milliseconds = client.ping() * 1_000
    if as_json:
        from recollectd.cli.output import print_json

        print_json({"milliseconds": round(milliseconds, 3)})
    else:
        click.echo(f"answered in {milliseconds:.2f} ms")
