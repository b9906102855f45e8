"""An engine of dictionaries."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Sequence

from recollectd.storage.keyspace import (
    APPLIED_KEY,
    DELETE,
    INDEX_SESSION,
    PUT,
    Family,
    Write,
    pack_number,
    unpack_number,
)


class MemoryEngine:
    """`recollectd.storage.engine.Engine` in dictionaries."""

    def __init__(self) -> None:
        self.families: dict[Family, dict[bytes, bytes]] = {family: {} for family in Family}
        self._order: dict[Family, list[bytes]] = {family: [] for family in Family}

    @property
    def applied_seq(self) -> int:
        row = self.families[Family.META].get(APPLIED_KEY)
        return 0 if row is None else unpack_number(row)

    def get_many(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.families[family].get(key) for key in keys]

    def walk(
        self, family: Family, start: bytes, stop: bytes, *, reverse: bool = False, keys_max: int
    ) -> list[tuple[bytes, bytes]]:
        assert keys_max > 0
        order = self._order[family]
        keys = order[bisect_left(order, start) : bisect_left(order, stop)]
        if reverse:
            keys.reverse()
        return [(key, self.families[family][key]) for key in keys[:keys_max]]

    def write(self, writes: Sequence[Write], applied_seq: int) -> None:
        for kind, family, key, value in writes:
            if kind == PUT:
                self._put(family, key, value)
            elif kind == DELETE:
                self._delete(family, key)
            else:
                assert key < value, "RocksDB never writes again after a range that is none"
                order = self._order[family]
                for inside in order[bisect_left(order, key) : bisect_left(order, value)]:
                    self._delete(family, inside)
        self._put(Family.META, APPLIED_KEY, pack_number(applied_seq))

    def _put(self, family: Family, key: bytes, value: bytes) -> None:
        assert type(key) is bytes
        assert type(value) is bytes
        if key not in self.families[family]:
            insort(self._order[family], key)
        self.families[family][key] = value

    def _delete(self, family: Family, key: bytes) -> None:
        if self.families[family].pop(key, None) is not None:
            order = self._order[family]
            del order[bisect_left(order, key)]

    def copy(self) -> MemoryEngine:
        copied = MemoryEngine()
        copied.families = {family: dict(rows) for family, rows in self.families.items()}
        copied._order = {family: list(order) for family, order in self._order.items()}
        return copied

    def count(self, family: Family, prefix: bytes = b"") -> int:
        return sum(key.startswith(prefix) for key in self.families[family])


def records(engine: MemoryEngine) -> dict[Family, dict[bytes, bytes]]:
    """Return all rows that are a function of the commits applied; sessions' rows are as of their checkpoint."""
    found = {
        family: {key: value for key, value in rows.items() if key[:1] != INDEX_SESSION}
        for family, rows in engine.families.items()
    }
    return found | {Family.META: {APPLIED_KEY: pack_number(engine.applied_seq)}}


def digest(engine: MemoryEngine) -> str:
    """Return what two engines with the same records have in common."""
    rows = sorted((family, key, value) for family, found in records(engine).items() for key, value in found.items())
    return hashlib.sha256(repr(rows).encode()).hexdigest()
