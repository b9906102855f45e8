"""recollectd journal: looking at a journal's files, also while a daemon writes them or when they are damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from recollectd.cli import daemon_packages
from recollectd.cli.connecting import with_json
from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import Failure
from recollectd.cli.inputs import show_namespace
from recollectd.cli.output import count, dumps, print_json, size
from recollectd.cli.tagging import to_json
from recollectd.protocol.messages.fields import Kind

if TYPE_CHECKING:
    from recollectd.journal.inspection import BatchReport, SegmentReport

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@click.group()
def journal() -> None:
    """Look at the journal's files."""


@journal.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--from-seq", type=click.IntRange(min=1), default=1, help="Only batches with this commit or later ones.")
@click.option("--no-events", is_flag=True, help="Only segments and batches.")
@with_json
def inspect(folder: Path, from_seq: int, no_events: bool, as_json: bool) -> int:
    """Print segments, batches and events of the journal in FOLDER, a data folder or its journal; nothing is changed.

    With --json one object a line. Ends with 65 when something is damaged.
    """
    with daemon_packages.needed("journal inspect"):
        from recollectd.journal.inspection import UNFINISHED, SegmentReport, inspect_journal, list_spare_files
        from recollectd.memory.events import describe
        from recollectd.storage.folder import JOURNAL_NAME
    directory = folder / JOURNAL_NAME if (folder / JOURNAL_NAME).is_dir() else folder
    damages = segments = batches = commits = 0
    for found in inspect_journal(directory, decode=None if no_events else describe, from_seq=from_seq):
        damages += bool(found.problem) and found.problem != UNFINISHED
        if isinstance(found, SegmentReport):
            segments += 1
            _print(as_json, "segment", found, _segment_text)
        else:
            batches += 1
            commits += found.entry_count
            _print(as_json, "batch", found, _batch_text)
    spares = list_spare_files(directory)
    if not segments and not spares:
        raise Failure(f"there is no journal in {folder}", code=ExitCode.NO_INPUT)
    for name, length in spares:
        if as_json:
            print_json({"kind": "spare", "file": name, "bytes": length})
        else:
            click.echo(f"{name}  {size(length)}, allocated ahead")
    totals = [count(segments, "segment"), count(batches, "batch", "batches"), count(commits, "commit")]
    click.echo(f"{', '.join(totals)}; {count(damages, 'place') + ' damaged' if damages else 'no damage'}", err=True)
    return ExitCode.DATA_ERROR if damages else ExitCode.OK


def _print(as_json: bool, kind: str, found: Any, lines: Callable[[Any], Iterator[str]]) -> None:
    if as_json:
        document = {"kind": kind, **found._asdict()}
        if "entries" in document:
            document["entries"] = [entry._asdict() for entry in document["entries"]]
        click.echo(dumps(to_json(document)))
        return
    for line in lines(found):
        click.echo(line)


def _segment_text(segment: SegmentReport) -> Iterator[str]:
    yield (
        f"{segment.segment}  {size(segment.file_bytes)}, epoch {segment.epoch}, from commit {segment.first_seq}, "
        f"made {_time(segment.created_us)}, store {segment.store_id}"
    )
    yield from _problem(segment.problem)


def _batch_text(batch: BatchReport) -> Iterator[str]:
    place = f"  at {batch.offset}: "
    if not batch.bytes:
        yield place + "nothing that can be read"
    elif batch.sealing:
        yield f"{place}seal, {_time(batch.time_us)}, everything up to commit {batch.synced_seq} is durable"
    else:
        last = batch.first_seq + batch.entry_count - 1
        commits = f"commit {last}" if batch.entry_count == 1 else f"commits {batch.first_seq} to {last}"
        yield f"{place}{commits}, {size(batch.bytes)}, {_time(batch.time_us)}, synced up to {batch.synced_seq}"
    yield from _problem(batch.problem)
    for entry in batch.entries:
        if entry.decoded is not None:
            yield f"    {entry.seq}  {_commit_text(entry.decoded)}"


def _commit_text(commit: Any) -> str:
    """Return what `describe` said of a commit, or why it could not be decoded, as one line."""
    if not isinstance(commit, dict):
        return str(commit)
    events = [_event_text(event) for event in commit["events"]]
    return f"{commit['request'] or 'by the daemon'}: {'; '.join(events) or 'refused, nothing is changed'}"


def _event_text(event: dict[str, Any]) -> str:
    if "key" not in event:
        return str(event["event"])
    kind = Kind(event["kind"]).name.lower()
    text = f"{event['operation']} {kind} {show_namespace(event['namespace'])} {event['key']}"
    if event.get("version"):
        text += f", version {event['version']}"
    return text + (f", {size(event['data_bytes'])}" if "data_bytes" in event else "")


def _problem(problem: str) -> Iterator[str]:
    if problem:
        yield f"  !! {problem}"


def _time(time_us: int) -> str:
    return (EPOCH + timedelta(microseconds=time_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")
