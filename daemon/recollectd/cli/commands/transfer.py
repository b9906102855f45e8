"""recollectd import and export: records as JSON Lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from recollectd.cli.commands.mapping import MappingOptions, with_mapping
from recollectd.cli.connecting import with_client, with_json, with_namespace
from recollectd.cli.daemon_packages import needed
from recollectd.cli.exits import ExitCode, exit_code_of
from recollectd.cli.failures import Failure
from recollectd.cli.inputs import parse_namespace, show_namespace
from recollectd.cli.output import count, print_json
from recollectd.cli.progress import progress_bar
from recollectd.cli.transfer.chunks import Report
from recollectd.cli.transfer.exporting import KINDS, MEMORY, Page, Place, export_pages
from recollectd.cli.transfer.exporting_mapped import mapped_messages, mapped_values
from recollectd.cli.transfer.failures import DataError, TransferStopped, VectorsError
from recollectd.cli.transfer.files import partial_of, write_lines, write_pages
from recollectd.cli.transfer.foreign import ConversationMapping
from recollectd.cli.transfer.importing import Importer, own_lines
from recollectd.cli.transfer.mapping import read_object
from recollectd.cli.transfer.sources import source_lines
from recollectd.cli.values import STDIN

if TYPE_CHECKING:
    from recollectd.cli.transfer.importing import Reader
    from recollectd.cli.transfer.joining_vectors import VectorsIn
    from recollectd.cli.transfer.lines import RecordLine
    from recollectd.cli.transfer.writing_vectors import VectorsOut
    from recollectd.client import Client

FILE = click.Path(path_type=Path, allow_dash=True)
VECTORS_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("import")
@click.argument("file", type=FILE)
@with_mapping
@click.option("--source", help="The name that lines without an id are known by. [default: the file's name]")
@click.option("--overwrite", is_flag=True, help="A state that is there with another value gets the line's.")
@click.option("--vectors", type=VECTORS_FILE, metavar="FILE.npz", help="The vectors of an export with --vectors.")
@with_json
@with_namespace
@with_client
def import_command(
    client: Client,
    file: Path,
    lines: MappingOptions,
    source: str | None,
    overwrite: bool,
    vectors: Path | None,
    as_json: bool,
) -> None:
    """Take in records as JSON Lines, each once.

    FILE may be - for standard input. However often an import is run, however early it ended before, it adds no record
    twice.

    Without --as the lines are what `recollectd export` writes. With it they are another program's; --map says which
    of their fields is what:

    \b
      conversation   conversation_id, message_id, role, content, valid_at, metadata.NAME
      state          key, and value (without it: the whole line)
      log            log_id, and value (without it: the whole line)

    TARGET==TEXT stands for the text itself and TARGET=# for the line's number. `--roles first-speaker` makes the first
    speaker of each conversation the user and the other one the assistant. Where a mapped field would not come back
    exactly from `recollectd export` with the same options, it is kept in the message's metadata under its own name.

    What JSON cannot carry is tagged in recollectd's own lines, as wherever the command line shows or takes JSON:
    {"$bytes": BASE64}, {"$int": DIGITS} beyond 53 bits, {"$float": "nan"}, {"$time": ISO-8601},
    {"$ext": [CODE, BASE64]}, {"$map": [[KEY, VALUE], ...]} for keys that are not text.

    What is there already is known by its key, its log and position, or its message_id. A line without message_id gets
    one made of the source's name and the line's number: so only add to the end of such a file, or use --id-field.

    --vectors needs numpy. It looks at all of FILE.npz before the first line is stored, and holds the ids of its rows in
    memory, but not the rows, unless they are compressed.
    """
    name = source or ("standard input" if str(file) == STDIN else file.name)
    began = time.monotonic()
    try:
        with _opened(file) as stream:
            report = _import(client, stream, lines, name, overwrite, vectors)
    except TransferStopped as stopped:
        raise Failure(
            f"{stopped} (everything up to line {stopped.line} is stored)",
            hint="run the same command again: it goes on from there",
            code=exit_code_of(stopped.cause),
        ) from stopped
    except DataError as error:
        raise Failure(
            f"{file}: {error}",
            hint="put the line right and run the same command again: what is stored already is not stored twice",
            code=ExitCode.DATA_ERROR,
        ) from error
    except VectorsError as error:
        hint = "the lines are stored, with the rows that are theirs" if error.stored else "nothing was stored"
        raise Failure(str(error), hint=hint, code=ExitCode.DATA_ERROR) from error
    if as_json:
        print_json(report)
    else:
        _tell(report, time.monotonic() - began)


def _opened(file: Path) -> BinaryIO:
    return sys.stdin.buffer if str(file) == STDIN else open(file, "rb")


def _import(
    client: Client, stream: BinaryIO, lines: MappingOptions, source: str, overwrite: bool, vectors: Path | None
) -> Report:
    mapping = lines.mapping(client, source)
    if mapping is not None and vectors is not None:
        raise click.UsageError("--vectors is for imports without --as.")
    joined = None if vectors is None else _vectors_in(client, vectors)
    if joined is not None:
        read: Reader = own_lines(source, joined.join)
    elif mapping is None:
        read = own_lines(source)
    else:

        def read(number: int, text: bytes) -> list[RecordLine]:
            return mapping.read(number, read_object(number, text))

    try:
        size: int | None = os.fstat(stream.fileno()).st_size or None
    except OSError:
        size = None
    with progress_bar("importing", size) as bar:
        report = Importer(client, read, overwrite=overwrite, progress=bar.reach).run(source_lines(stream))
    if joined is not None:
        joined.check_all_taken()
    if mapping is not None and mapping.dropped:
        names = ", ".join(mapping.dropped)
        more = " (--keep-rest keeps them)" if isinstance(mapping, ConversationMapping) else ""
        click.echo(f"recollectd: fields that were not mapped were left out: {names}{more}", err=True)
    return report


def _vectors_in(client: Client, file: Path) -> VectorsIn:
    with needed("--vectors"):
        from recollectd.cli.transfer.joining_vectors import VectorsIn

    def dimensions(namespace: tuple[str, ...]) -> dict[str, int]:
        spaces = client.with_namespace(*namespace).vector_spaces.list()
        return {space.name: space.dimensions for space in spaces}

    return VectorsIn(file, client.namespace, dimensions)


NOUNS = {
    "state": ("state",),
    "log": ("log item",),
    "conversation": ("conversation",),
    "message": ("message",),
    "vector_space": ("vector space",),
    "search_settings": ("settings of search", "settings of search"),
    "memory": ("memory", "memories"),
    "vector": ("vector",),
}


def _tell(report: Report, seconds: float) -> None:
    added = [count(number, *NOUNS[kind]) for kind, number in report.added.items() if number]
    click.echo(f"{count(report.line, 'line')} in {seconds:.1f} s: added {', '.join(added) or 'nothing'}")
    there = [count(number, *NOUNS[kind]) for kind, number in report.there_already.items() if number]
    if there:
        click.echo(f"there already: {', '.join(there)}")
    if report.different:
        click.echo(f"{count(report.different, 'state')} kept another value than the file's (--overwrite replaces them)")
    if report.replaced:
        click.echo(f"replaced: {count(report.replaced, 'state')}")
    if report.expired:
        click.echo(f"left out, as their time is over: {count(report.expired, 'state')}")


@click.command("export")
@click.argument("file", type=FILE)
@with_mapping
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only this kind; repeatable.")
@click.option("--resume", is_flag=True, help="Go on with an export of the same that was interrupted.")
@click.option("--force", is_flag=True, help="Replace FILE, and what an interrupted export left.")
@click.option("--vectors", type=VECTORS_FILE, metavar="FILE.npz", help="Write vectors there, and none in the lines.")
@with_json
@with_namespace
@with_client
def export_command(
    client: Client,
    file: Path,
    lines: MappingOptions,
    kinds: Sequence[str],
    resume: bool,
    force: bool,
    vectors: Path | None,
    as_json: bool,
) -> None:
    """Write records as JSON Lines.

    FILE may be - for standard output. Without --as: records of all namespaces, or of one and all below it, as
    `recollectd import` takes them. With --as and the --map options of an import: the lines that it read, from one
    namespace. State records come in the order of their keys, conversations in that of their source. The file is there
    when it is whole. An export is no snapshot: what changes meanwhile is in it as it was when its turn came.

    --vectors needs numpy. FILE.npz has two arrays for each vector space: NAMESPACE/SPACE/vectors, float32, and
    NAMESPACE/SPACE/memory_ids; and message_vectors and message_ids where messages have some. The rows are put aside on
    the disk first, so it needs twice the room while it is written, and little memory. Import both files together.
    """
    began = time.monotonic()
    mapping = lines.mapping(client, file.name)
    if mapping is not None and (kinds or resume or vectors):
        raise click.UsageError("--kind, --resume and --vectors are for exports without --as.")
    aside = None if vectors is None else _vectors_out(file, vectors, kinds, resume, force)
    if str(file) != STDIN:
        _check_free(file, resume, force)
    try:
        with progress_bar("exporting", None) as bar:
            if mapping is None:
                records = _export_own(client, file, tuple(kinds) or KINDS, resume, bar.reach, aside)
            elif isinstance(mapping, ConversationMapping):
                records = _write(file, mapped_messages(client, mapping), bar.reach)
            else:
                records = _write(file, mapped_values(client, mapping), bar.reach)
    except DataError as error:
        raise Failure(str(error), code=ExitCode.DATA_ERROR) from error
    beside = {} if aside is None else {"vectors": aside.total, "vectors_file": str(vectors)}
    if as_json and str(file) != STDIN:
        print_json({"records": records, "file": str(file), **beside})
    else:
        vectors_too = "" if aside is None else f" and {count(aside.total, 'vector')}"
        click.echo(f"{count(records, 'record')}{vectors_too} in {time.monotonic() - began:.1f} s", err=True)


def _vectors_out(file: Path, vectors: Path, kinds: Sequence[str], resume: bool, force: bool) -> VectorsOut:
    if str(file) == STDIN:
        raise click.UsageError("--vectors needs a file for the lines, too.")
    if vectors.absolute() == file.absolute():
        raise click.UsageError("--vectors and FILE must be two files.")
    if kinds and MEMORY not in kinds:
        raise click.UsageError("--vectors is for exports with memories.")
    with needed("--vectors"):
        from recollectd.cli.transfer.writing_vectors import VectorsOut, rows_of
    # Of an export that was interrupted between the last two renamings the vectors are whole, and their rows still here.
    if vectors.exists() and not force and not (resume and rows_of(vectors).exists()):
        raise Failure(f"{vectors} is there already", hint="--force replaces it", code=ExitCode.CANNOT_CREATE)
    return VectorsOut(vectors)


def _check_free(file: Path, resume: bool, force: bool) -> None:
    if force:
        return
    if file.exists():
        raise Failure(f"{file} is there already", hint="--force replaces it", code=ExitCode.CANNOT_CREATE)
    if not resume and partial_of(file).exists():
        raise Failure(
            f"{partial_of(file)} is there from an export that was interrupted",
            hint="--resume goes on with it, --force begins anew",
            code=ExitCode.CANNOT_CREATE,
        )


def _export_own(
    client: Client,
    file: Path,
    kinds: Sequence[str],
    resume: bool,
    progress: Callable[[int], None],
    aside: VectorsOut | None,
) -> int:
    # Without -n it is all namespaces, not the default one.
    given: Sequence[str] = click.get_current_context().params["namespace"]
    prefix = parse_namespace(given) if given else ()

    def pages(at: Place | None) -> Iterator[Page]:
        return export_pages(client, prefix, kinds, at, vectors_aside=aside is not None)

    if str(file) != STDIN:
        below = f"namespace {show_namespace(prefix)}" if prefix else "all namespaces"
        apart = "" if aside is None else f" with vectors in {aside.file.name}"
        subject = f"{', '.join(kinds)} of {below}{apart}"
        return write_pages(file, subject, pages, resume=resume, progress=progress, aside=aside)
    if resume:
        raise click.UsageError("--resume needs a file.")
    records = 0
    for page in pages(None):
        sys.stdout.buffer.write(page.text)
        records += page.records
        progress(records)
    return records


def _write(file: Path, lines: Iterable[bytes], progress: Callable[[int], None]) -> int:
    if str(file) != STDIN:
        return write_lines(file, lines, progress)
    records = 0
    for records, line in enumerate(lines, 1):
        sys.stdout.buffer.write(line)
        progress(records)
    return records
