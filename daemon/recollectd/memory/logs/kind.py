"""Logs, declared."""

from __future__ import annotations

from recollectd.memory.kind import KindSpec
from recollectd.memory.logs import reads, writes
from recollectd.memory.logs.caching import FOLLOWS
from recollectd.memory.logs.events import EVENTS, LogHead
from recollectd.protocol.messages import logs as messages
from recollectd.protocol.messages.fields import Kind

KIND = KindSpec(
    kind=Kind.LOG,
    head=LogHead,
    events=EVENTS,
    follows=FOLLOWS,
    writes={
        messages.LogAppend: writes.Append,
        messages.LogPopLast: writes.PopLast,
        messages.LogTruncate: writes.Truncate,
        messages.LogCopy: writes.Copy,
        messages.LogDelete: writes.Delete,
    },
    reads={
        messages.LogRead: reads.Read,
        messages.LogHead: reads.ReadHead,
        messages.LogList: reads.ListLogs,
    },
)
