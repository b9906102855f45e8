"""recollectd state: agent state by namespace and key."""

from __future__ import annotations

import base64
import binascii
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recollectd.cli.connecting import with_client, with_json, with_namespace
from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import report
from recollectd.cli.inputs import duration, time
from recollectd.cli.output import count as counted
from recollectd.cli.output import dumps, line_width, one_line, plain, print_json, print_table, print_value
from recollectd.cli.progress import confirm, progress_bar
from recollectd.cli.values import read_value

if TYPE_CHECKING:
    from recollectd.client import Client
    from recollectd.client.results import Record


@click.group()
def state() -> None:
    """Read and write agent state: values by key."""


@state.command()
@click.argument("key")
@click.argument("value", required=False)
@click.option("--text", is_flag=True, help="VALUE is text, not JSON.")
@click.option("--bytes-from", type=click.Path(path_type=Path), help="The value is this file's bytes; - is stdin.")
@click.option("--ttl", type=duration, metavar="DURATION", help="Time to live: seconds, or such as 30m, 12h, 7d.")
@click.option("--sliding", is_flag=True, help="Each read extends the time to live.")
@click.option("--if-version", type=click.IntRange(min=0), help="Only if the record is at this version.")
@click.option("--if-absent", is_flag=True, help="Only if there is no such record.")
@with_json
@with_namespace
@with_client
def put(
    client: Client, key: str, value: str | None, text: bool, bytes_from: Path | None, as_json: bool, **how: Any
) -> None:
    """Write VALUE under KEY: JSON, or text with --text; - reads it from standard input."""
    version = client.state.put(key, read_value(value, text=text, bytes_from=bytes_from), **how)
    if as_json:
        print_json({"key": key, "version": version})
    else:
        click.echo(f"stored {key}, version {version}")


@state.command()
@click.argument("key")
@click.option("--version", type=click.IntRange(min=1), help="The record as it was at this version.")
@click.option("--as-of", type=time, metavar="TIME", help="The record as it was at this time.")
@click.option("--value", "value_only", is_flag=True, help="Only the value; bytes as they are.")
@with_json
@with_namespace
@with_client
def get(
    client: Client, key: str, version: int | None, as_of: datetime | None, value_only: bool, as_json: bool
) -> int | None:
    """Read the record at KEY. Ends with 66 when there is none."""
    record = client.state.get(key, version=version, as_of=as_of)
    if as_json:
        print_json(record)
    if record is None:
        report(
            f"there is no record {key!r} in this namespace" + (" at that version or time" if version or as_of else "")
        )
        return ExitCode.NO_INPUT
    if as_json:
        return None
    if value_only and isinstance(record.value, bytes):
        sys.stdout.buffer.write(record.value)
        return None
    if not value_only:
        expires = f", expires {record.expires_at}" if record.expires_at else ""
        click.echo(f"{record.key}  version {record.version}, written {record.updated_at}{expires}")
    print_value(record.value)
    return None


@state.command()
@click.argument("key")
@click.option("--if-version", type=click.IntRange(min=1), help="Only if the record is at this version.")
@with_json
@with_namespace
@with_client
def delete(client: Client, key: str, if_version: int | None, as_json: bool) -> None:
    """Delete the record at KEY; its history is kept."""
    deleted = client.state.delete(key, if_version=if_version)
    if as_json:
        print_json({"key": key, "deleted": deleted})
    else:
        click.echo(f"deleted {key}" if deleted else f"there was no record {key}")


@state.command()
@click.argument("prefix", default="")
@click.option("--pattern", default="", help="Only keys matching this glob: * ? [abc] [!abc].")
@click.option("--reverse", is_flag=True, help="From the last key backwards.")
@click.option("--limit", type=click.IntRange(1, 10_000), help="One page of at most so many.")
@click.option("--cursor", default="", help="Go on where a page ended.")
@click.option("--keys", "keys_only", is_flag=True, help="Only the keys.")
@with_json
@with_namespace
@with_client
def scan(
    client: Client, prefix: str, limit: int | None, cursor: str, keys_only: bool, as_json: bool, **how: Any
) -> None:
    """List records in the order of their keys, all or those beginning with PREFIX.

    With --json one record a line; with --limit or --cursor as well, one object with the page's records and the
    cursor for the next, empty at the end.
    """
    if limit is None and not cursor:
        for record in client.state.scan(prefix, values=not keys_only, **how):
            _print_record(record, keys_only, as_json)
        return
    page = client.state.scan_page(prefix, limit=limit or 100, cursor=_read_cursor(cursor), values=not keys_only, **how)
    following = base64.urlsafe_b64encode(page.cursor).decode()
    if as_json:
        records = [record.key if keys_only else plain(record) for record in page.records]
        click.echo(dumps({"records": records, "cursor": following}))
        return
    for record in page.records:
        _print_record(record, keys_only, as_json)
    if following:
        click.echo(f"more with --cursor {following}", err=True)


def _read_cursor(text: str) -> bytes:
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except binascii.Error:
        raise click.BadParameter("expected what a page before gave", param_hint="--cursor") from None


def _print_record(record: Record, keys_only: bool, as_json: bool) -> None:
    if keys_only:
        click.echo(dumps(record.key) if as_json else record.key)
    elif as_json:
        print_json(record)
    else:
        head = f"{record.key}  v{record.version}  "
        width = line_width()
        click.echo(head + one_line(record.value, max(width - len(head), 20) if width else 0))


@state.command()
@click.argument("key")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many versions.")
@with_json
@with_namespace
@with_client
def history(client: Client, key: str, limit: int | None, as_json: bool) -> None:
    """List the versions of the record at KEY that are kept, newest first."""
    versions = client.state.history(key, limit=limit)
    if as_json:
        print_json({"key": key, "versions": [plain(version) for version in versions]})
        return
    print_table(
        ((v.version, v.updated_at, "(deleted)" if v.deleted else one_line(v.value, 80)) for v in versions),
        ("version", "written", "value"),
    )


@state.command()
@click.argument("key")
@click.option("--ttl", type=duration, metavar="DURATION", required=True, help="The time to live from now on.")
@with_json
@with_namespace
@with_client
def touch(client: Client, key: str, ttl: float, as_json: bool) -> None:
    """Set the time to live of the record at KEY anew, without a new version."""
    expires_at = client.state.touch(key, ttl)
    if as_json:
        print_json({"key": key, "expires_at": expires_at})
    else:
        click.echo(f"{key} expires at {expires_at}")


@state.command()
@click.argument("prefix", default="")
@click.option("--pattern", default="", help="Only keys matching this glob.")
@with_json
@with_namespace
@with_client
def count(client: Client, prefix: str, pattern: str, as_json: bool) -> None:
    """Count records, all or those whose keys begin with PREFIX."""
    number = client.state.count(prefix, pattern=pattern)
    print_json({"count": number}) if as_json else click.echo(counted(number, "record"))


@state.command("delete-prefix")
@click.argument("prefix")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_json
@with_namespace
@with_client
def delete_prefix(client: Client, prefix: str, yes: bool, as_json: bool) -> None:
    """Delete every record whose key begins with PREFIX; an empty PREFIX ("") stands for all of the namespace."""
    number = client.state.count(prefix)
    if not yes:
        confirm(f"delete {counted(number, 'record')}?")
    with progress_bar("deleting", number) as bar:
        deleted = client.state.delete_prefix(prefix, progress=bar.reach)
    print_json({"deleted": deleted}) if as_json else click.echo(f"deleted {counted(deleted, 'record')}")
