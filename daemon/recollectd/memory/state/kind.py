"""State records, declared."""

from __future__ import annotations

from recollectd.memory.kind import KindSpec
from recollectd.memory.state import reads, writes
from recollectd.memory.state.caching import FOLLOWS
from recollectd.memory.state.events import EVENTS, StateHead
from recollectd.protocol.messages import state as messages
from recollectd.protocol.messages.fields import Kind

KIND = KindSpec(
    kind=Kind.STATE,
    head=StateHead,
    events=EVENTS,
    follows=FOLLOWS,
    writes={
        messages.StatePut: writes.Put,
        messages.StatePutMany: writes.PutMany,
        messages.StateDelete: writes.Delete,
        messages.StateTouch: writes.Touch,
        messages.StateDeletePrefix: writes.DeletePrefix,
    },
    reads={
        messages.StateGet: reads.Get,
        messages.StateGetMany: reads.GetMany,
        messages.StateGetValues: reads.GetValues,
        messages.StateHistory: reads.History,
        messages.StateScan: reads.Scan,
        messages.StateCount: reads.Count,
    },
    refresh=writes.refresh,
    settle_expiry=writes.settle_expiry,
)
