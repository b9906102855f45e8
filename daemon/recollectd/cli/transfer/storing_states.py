"""State records of a chunk of lines into the store; a key says which record a line is."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from recollectd.cli.transfer.chunks import Numbered, Report, data_error, naming_lines, same_value
from recollectd.cli.transfer.failures import DataError
from recollectd.cli.transfer.lines import StateLine
from recollectd.protocol.errors import InvalidArgument, TooLarge, VersionConflict

if TYPE_CHECKING:
    from recollectd.client import Client

States = list[Numbered[StateLine]]


def store_states(client: Client, chunk: States, report: Report, *, overwrite: bool, now: datetime) -> None:
    """Put what is not there; with `overwrite` also what is there with another value. Several lines of a key are one.

    Which of a key's lines counts: the first, as the second finds the record there; with `overwrite` the last.
    """
    living = [numbered for numbered in chunk if not _is_over(numbered, now)]
    report.expired += len(chunk) - len(living)
    by_key = {numbered.line.key: numbered for numbered in (living if overwrite else reversed(living))}
    report.skip("state", len(living) - len(by_key))
    # A line's place is that of its first mention: what is read later was written later.
    lines = sorted(by_key.values(), key=lambda numbered: numbered.number)
    with naming_lines(lines):
        existing = client.state.get_many([numbered.line.key for numbered in lines])
    wanted: States = []
    for numbered in lines:
        record = existing.get(numbered.line.key)
        if record is None:
            wanted.append(numbered)
        elif same_value(record.value, numbered.line.value):
            report.skip("state", 1)
        elif overwrite:
            wanted.append(numbered)
        else:
            report.skip("state", 1)
            report.different += 1
    versions = {key: record.version for key, record in existing.items()}
    if wanted:
        _put(client, wanted, versions, report, now)


def _put(client: Client, lines: States, versions: dict[str, int], report: Report, now: datetime) -> None:
    """Put records, each only if it is still at the version that was read (0: absent)."""
    handles = []
    with client.batch(raises=False) as batch:
        for numbered in lines:
            line = numbered.line
            with naming_lines([numbered]):
                version = versions.get(line.key, 0)
                handles.append(batch.state.put(line.key, line.value, ttl=_ttl(line, now), if_version=version))
    for numbered, handle in zip(lines, handles, strict=True):
        error = handle.exception()
        if error is None:
            if versions.get(numbered.line.key):
                report.replaced += 1
            else:
                report.add("state", 1)
        elif isinstance(error, VersionConflict):
            report.skip("state", 1)  # somebody else wrote it a moment ago: it is there, and theirs is the later one
        elif isinstance(error, InvalidArgument | TooLarge):
            raise data_error([numbered], error)
        else:
            raise error


def _is_over(numbered: Numbered[StateLine], now: datetime) -> bool:
    expires_at = _expires_at(numbered)
    return expires_at is not None and expires_at <= now


def _expires_at(numbered: Numbered[StateLine]) -> datetime | None:
    text = numbered.line.expires_at
    if text is None:
        return None
    try:
        expires_at = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(numbered.number, f"expires_at: {text!r} is no ISO-8601 time") from None
    if expires_at.tzinfo is None:
        raise DataError(numbered.number, f"expires_at: {text!r} has no time zone")
    return expires_at


def _ttl(line: StateLine, now: datetime) -> float | None:
    return None if line.expires_at is None else (datetime.fromisoformat(line.expires_at) - now).total_seconds()
