"""Taking lines in: each record once, however often its line comes.

A line's identity is the record's own: a state's key, a log item's position, a message's id. What is there already is
left as it is, so an import that ended early is simply run again and goes on where it ended. Lines are taken in chunks
of bounded size; within a conversation and a log their order is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from recollectd.cli.transfer.chunks import Numbered, Report, grouped, naming_lines, of_kind
from recollectd.cli.transfer.failures import DataError, TransferStopped
from recollectd.cli.transfer.lines import (
    ConversationLine,
    LogLine,
    MemoryLine,
    MessageLine,
    RecordLine,
    SearchSettingsLine,
    StateLine,
    VectorSpaceLine,
    read_line,
)
from recollectd.cli.transfer.sources import SourceLine, derived_id
from recollectd.cli.transfer.storing_conversations import store_conversations
from recollectd.cli.transfer.storing_logs import store_logs
from recollectd.cli.transfer.storing_memories import store_memories, store_settings, store_spaces, store_superseded
from recollectd.cli.transfer.storing_states import store_states
from recollectd.protocol import limits
from recollectd.protocol.errors import RecollectdError

if TYPE_CHECKING:
    from recollectd.client import Client

CHUNK_RECORDS_MAX: Final = 1_000
CHUNK_BYTES_MAX: Final = limits.PAGE_BYTES_MAX

Reader = Callable[[int, bytes], list[RecordLine]]
Join = Callable[[int, RecordLine], RecordLine]


def own_lines(source: str, join: Join = lambda number, line: line) -> Reader:
    """Return the reader of recollectd's own lines.

    source: names where messages without an id come from. join: makes a record of what a line says and what is beside.
    """

    def read(number: int, text: bytes) -> list[RecordLine]:
        line = read_line(number, text)
        if isinstance(line, MessageLine) and line.message_id is None:
            line = msgspec.structs.replace(line, message_id=derived_id(source, str(number)))
        return [] if line is None else [join(number, line)]

    return read


class Importer:
    """One import into a store.

    read: what records a source's line stands for. overwrite: a state that is there with another value gets the line's.
    progress: told how many bytes of the source are stored. now: the clock that tells which states have expired.
    """

    def __init__(
        self,
        client: Client,
        read: Reader,
        *,
        overwrite: bool = False,
        progress: Callable[[int], None] = lambda done: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._read = read
        self._overwrite = overwrite
        self._progress = progress
        self._now = now
        self._chunk: list[Numbered[RecordLine]] = []
        self._chunk_bytes = 0
        self._superseded: list[tuple[Client, list[tuple[str, str]]]] = []
        self.report = Report()

    def run(self, lines: Iterable[SourceLine]) -> Report:
        """Take in all lines. Raises DataError for a bad line, after storing those before it.

        Raises TransferStopped when the daemon does not go along. `report.line` says up to where all is stored.
        """
        end = 0
        line = SourceLine(0, b"", 0)
        try:
            for line in lines:
                records = self._read(line.number, line.text)
                if self._is_full(len(records), len(line.text)):
                    self._store(line.number - 1, end)
                self._chunk.extend(Numbered(line.number, record) for record in records)
                self._chunk_bytes += len(line.text)
                end = line.end
        except DataError as error:
            self._store(error.line - 1, end)
            raise
        self._store(line.number, end)
        for client, superseded in self._superseded:
            store_superseded(client, superseded)
        return self.report

    def _is_full(self, records: int, size: int) -> bool:
        return bool(self._chunk) and (
            len(self._chunk) + records > CHUNK_RECORDS_MAX or self._chunk_bytes + size > CHUNK_BYTES_MAX
        )

    def _store(self, line: int, end: int) -> None:
        """Store the chunk, which ends at this line and with this byte of the source, and begin a new one."""
        chunk, self._chunk, self._chunk_bytes = self._chunk, [], 0
        try:
            for namespace, numbered in grouped(chunk, lambda line: line.namespace).items():
                with naming_lines(numbered):
                    client = self._client if namespace is None else self._client.with_namespace(*namespace)
                self._store_kinds(client, numbered)
        except RecollectdError as error:
            raise TransferStopped(self.report.line, error) from error
        self.report.line = line
        self._progress(end)

    def _store_kinds(self, client: Client, chunk: list[Numbered[RecordLine]]) -> None:
        states = of_kind(chunk, StateLine)
        if states:
            store_states(client, states, self.report, overwrite=self._overwrite, now=self._now())
        logs = of_kind(chunk, LogLine)
        if logs:
            store_logs(client, logs, self.report)
        settings = of_kind(chunk, SearchSettingsLine)
        if settings:
            store_settings(client, settings, self.report)
        spaces, memories = of_kind(chunk, VectorSpaceLine), of_kind(chunk, MemoryLine)
        if spaces:
            store_spaces(client, spaces, self.report)
        if memories:
            superseded = store_memories(client, memories, self.report, now=self._now())
            if superseded:
                self._superseded.append((client, superseded))
        conversations, messages = of_kind(chunk, ConversationLine), of_kind(chunk, MessageLine)
        if conversations or messages:
            store_conversations(client, conversations, messages, self.report)
