"""Changes the daemon makes to state records by itself: expiry, sliding refresh, pruning by age. All are events."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import ClassVar, Final

from msgspec import structs

from recollectd.memory.commits import KINDS
from recollectd.memory.kind import Draft, Event, Facts, Fetch, Rows, View, WriteOperation
from recollectd.memory.settings.policies import Policies
from recollectd.memory.state.events import EXPIRY_START, Pruned, Purged, StateHead, decode_head, unpack_version
from recollectd.protocol.messages.connection import Done, Ping
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import Family, after_prefix, expiry_key, path, row_key, split_expiry_key

_SETTLE: Final = {int(kind.kind): kind.settle_expiry for kind in KINDS if kind.settle_expiry is not None}
_REFRESH: Final = {int(kind.kind): kind.refresh for kind in KINDS if kind.refresh is not None}
_EXPIRY_NEEDS: Final = {int(kind.kind): kind.expiry_needs for kind in KINDS}
_STEP: Final = 1_000
_VERSIONS_STEP: Final = 64
# A deleted record's head stays at least so long, whatever the history: versions must not start again at 1 while
# somebody may still hold one for if_version.
TOMBSTONE_AGE_US_MIN: Final = 86_400 * 1_000_000


class Sweep(WriteOperation[Ping]):
    """Base of the daemon's own writes; there is no request behind them. May be run again and again."""

    __slots__ = ("_keys",)

    frees = True

    def __init__(self) -> None:
        super().__init__(Ping())
        self._keys: list[bytes] = []

    @property
    def prepares(self) -> bool:
        """It finds its records first."""
        return True

    @property
    def idle(self) -> bool:
        """Whether no record was found."""
        return not self._keys

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the records found."""
        return self._keys


class Expire(Sweep):
    """Turns expiries that have come into events.

    start: where in the expiry index to begin: what lies before it is done, and would be walked over as deleted rows.
    Nothing is written there any more: a record expires after the commit that wrote it.
    """

    __slots__ = ("start",)

    def __init__(self) -> None:
        super().__init__()
        self.start = EXPIRY_START

    def prepare(self, view: View) -> Generator[Fetch, Rows, None]:
        """Walk the expiry index up to the present."""
        stop = expiry_key(view.time + 1, b"")
        rows = view.walk(Family.INDEX, self.start, stop, keys_max=_STEP)
        self.start = max(self.start, min(rows[0][0] if rows else stop, expiry_key(view.settled, b"")))
        self._keys = [split_expiry_key(key)[1] for key, _ in rows]
        yield from ()

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return the records found, and what their expiry changes beside them."""
        return (*self._keys, *(row for key in self._keys for row in _EXPIRY_NEEDS[key[0]](facts, key)))

    def write(self, draft: Draft) -> Done:
        """Expire what is still due."""
        for key in self._keys:
            _SETTLE[key[0]](draft, key)
        return Done()


class Refresh(Sweep):
    """Notes that records were read: extends the lives of sliding ones, counts accesses."""

    __slots__ = ()

    def __init__(self, keys: Sequence[bytes]) -> None:
        super().__init__()
        self._keys = list(keys)

    @property
    def prepares(self) -> bool:
        """The records are given."""
        return False

    def write(self, draft: Draft) -> Done:
        """Do what the kinds do of what is still there."""
        for key in self._keys:
            _REFRESH[key[0]](draft, key)
        return Done()


class Prune(Sweep):
    """Drops versions older than their namespace keeps, and heads of records deleted that long ago.

    A version goes when the one behind it is older than the age: until then a read as of that age needs it. Walks a
    bounded step of heads per run and goes on where it stopped; `place` is empty when it came around.
    """

    __slots__ = ("_firsts", "_policies", "place")

    kind: ClassVar[Kind] = Kind.STATE
    decode = staticmethod(decode_head)

    def __init__(self, policies: Policies) -> None:
        super().__init__()
        self._policies = policies
        self._firsts: dict[bytes, int] = {}
        self.place = b""

    def prepare(self, view: View) -> Generator[Fetch, Rows, None]:
        """Walk heads; for those that may hold old versions look at the versions' times."""
        start = bytes((self.kind,))
        rows = view.walk(Family.HEADS, self.place + b"\0" if self.place else start, after_prefix(start), keys_max=_STEP)
        self.place = rows[-1][0] if len(rows) == _STEP else b""
        self._firsts = {}
        for key, row in rows:
            head = self.decode(row)
            age_us = self._policies.of(key).age_us
            if not age_us:
                continue
            horizon = view.time - age_us
            if head.updated_at <= horizon:
                if head.first_version < head.version or self._forgettable(head, view.time, age_us):
                    self._firsts[key] = head.version
            elif head.first_version < head.version:
                first = yield from self._first_kept(key, head, horizon)
                if first > head.first_version:
                    self._firsts[key] = first
        self._keys = list(self._firsts)

    @staticmethod
    def _forgettable(head: StateHead, time: int, age_us: int) -> bool:
        return head.deleted and head.updated_at <= time - max(age_us, TOMBSTONE_AGE_US_MIN)

    @staticmethod
    def _first_kept(key: bytes, head: StateHead, horizon: int) -> Generator[Fetch, Rows, int]:
        """Return the oldest version to keep, looking at a bounded number of them."""
        below, first = path(key), head.first_version
        row = (yield Fetch(Family.VALUES, (row_key(below, first + 1),)))[0]
        if row is None or unpack_version(row).updated_at > horizon:
            return first
        numbers = range(first + 1, min(head.version, first + _VERSIONS_STEP) + 1)
        rows = yield Fetch(Family.VALUES, [row_key(below, number) for number in numbers])
        for number, row in zip(numbers, rows, strict=True):
            if row is None or unpack_version(row).updated_at > horizon:
                break
            first = number
        return first

    def write(self, draft: Draft) -> Done:
        """Drop what was found; a record that has moved on keeps to the bounds found, which only look back."""
        for key, first in self._firsts.items():
            head: StateHead | None = draft.get(key)
            if head is None:
                continue
            if head.version == first and self._forgettable(head, draft.time, self._policies.of(key).age_us):
                draft.put(key, None)
                draft.emit(self.purged(key, head))
            elif head.first_version < first <= head.version:
                pruned = structs.replace(head, first_version=first)
                draft.put(key, pruned)
                draft.emit(self.pruned(key, pruned, head.first_version))
        return Done()

    @staticmethod
    def purged(key: bytes, head: StateHead) -> Event:
        """Return the event that a deleted record's rows are dropped."""
        return Purged(key, head.first_version, head.version)

    @staticmethod
    def pruned(key: bytes, head: StateHead, previous_first_version: int) -> Event:
        """Return the event that old versions are dropped."""
        return Pruned(key, head, previous_first_version)
