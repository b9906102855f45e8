"""The log of entries: a trunk for each conversation that has ever added any, shared by its forks while they need it.

    e/<entry id>   [trunk, position]: where an entry lies
    t/<trunk>      Trunk: who needs it, up to which position, and the entry of another trunk it grows from
    log <trunk>    the entries in the order in which they were added; a branch's behind those it leaves

A trunk is named after its first entry. Who needs it *pins* it: a conversation its own trunk whole, a fork the trunk it
was forked from up to that entry, and a trunk the one it grows from. A trunk that nobody pins any more is deleted, one
that only forks pin is cut behind the last of them. So a conversation's messages go with it, but for those that a fork
has in its history, and what lies between them.

An index row may outlive its entry for a moment, or, after a crash in that moment, for good. It holds no content, and is
known by its trunk's pins: whoever relies on an entry reads them, too. Do not change names and layouts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from recollectd.client import Transaction

ENTRIES: Final = "e/"
TRUNKS: Final = "t/"
WHOLE: Final = -1

Place: TypeAlias = tuple[str, int]
"""A trunk and a position in it."""


class Entry(msgspec.Struct, frozen=True):
    """An entry as it is stored; message: a list of one, as JSON."""

    id: str
    parent_id: str | None
    kind: str
    message: str


class Trunk(msgspec.Struct):
    """pins: up to which position whom needs it, or WHOLE; root: the place of the entry it grows from."""

    pins: dict[str, int]
    root: Place | None = None

    def holds(self, position: int) -> bool:
        """Tell whether an entry is still there."""
        return self.last == WHOLE or position <= self.last

    @property
    def last(self) -> int:
        """The last position anybody needs, or WHOLE."""
        return WHOLE if WHOLE in self.pins.values() else max(self.pins.values())


def trunk_of(transaction: Transaction, name: str) -> Trunk | None:
    """Read a trunk."""
    record = transaction.state.get(TRUNKS + name)
    return None if record is None else msgspec.convert(record.value, Trunk)


def places_of(transaction: Transaction, entry_ids: Iterable[str]) -> dict[str, Place] | None:
    """Return where stored entries lie; None if one is not there."""
    places: dict[str, Place] = {}
    for entry_id in entry_ids:
        record = transaction.state.get(ENTRIES + entry_id)
        if record is None:
            return None
        name, position = record.value
        trunk = trunk_of(transaction, name)
        if trunk is None or not trunk.holds(position):
            return None
        places[entry_id] = (name, position)
    return places


def pin(transaction: Transaction, place: Place, who: str) -> None:
    """Keep a trunk up to a place."""
    name, position = place
    trunk = trunk_of(transaction, name)
    assert trunk is not None, "who pins an entry has found it"
    known = trunk.pins.get(who)
    if known is None or (known != WHOLE and known < position):
        trunk.pins[who] = position
        transaction.state.put(TRUNKS + name, msgspec.to_builtins(trunk))


def grow(transaction: Transaction, name: str, who: str, root: Place | None, entries: list[Entry]) -> None:
    """Append entries to a trunk, which begins with the first of them."""
    info = transaction.logs.info(name)
    following = 0 if info is None else info.next
    if info is None:
        transaction.state.put(TRUNKS + name, msgspec.to_builtins(Trunk({who: WHOLE}, root)))
        if root is not None:
            pin(transaction, root, TRUNKS + name)
    transaction.logs.append(name, entries, if_next=following)
    places = {ENTRIES + entry.id: (name, following + index) for index, entry in enumerate(entries)}
    transaction.state.put_many(places)


def unpin(transaction: Transaction, names: Iterable[str], who: str) -> list[str]:
    """Take the pins of one away, and with them what nobody needs any more; return the ids of the entries that go.

    A trunk that goes takes its own pin from its root. All is read before anything is written: one trunk may be
    reached by several ways.
    """
    trunks: dict[str, Trunk] = {}
    lasts: dict[str, int] = {}
    pins = [(name, who) for name in names]
    while pins:
        name, holder = pins.pop()
        trunk = trunks.get(name) or trunk_of(transaction, name)
        if trunk is None or holder not in trunk.pins:
            continue
        trunks[name] = trunk
        lasts.setdefault(name, trunk.last)
        del trunk.pins[holder]
        if not trunk.pins and trunk.root is not None:
            pins.append((trunk.root[0], TRUNKS + name))
    gone = {name: _beyond(transaction, name, trunk, lasts[name]) for name, trunk in trunks.items()}
    for name, trunk in trunks.items():
        if not trunk.pins:
            transaction.state.delete(TRUNKS + name)
            transaction.logs.delete(name)
            continue
        transaction.state.put(TRUNKS + name, msgspec.to_builtins(trunk))
        if trunk.last != lasts[name]:
            transaction.logs.truncate(name, after=trunk.last + 1)
    return [entry_id for entry_ids in gone.values() for entry_id in entry_ids]


def _beyond(transaction: Transaction, name: str, trunk: Trunk, last_before: int) -> list[str]:
    """Return the ids of a trunk's entries that no pin keeps any more."""
    if trunk.pins and trunk.last == last_before:
        return []
    start = trunk.last + 1 if trunk.pins else 0
    return [entry_of(item.value).id for item in transaction.logs.iterate(name, start)]


def entry_of(stored: Any) -> Entry:
    """Return an entry as it lies in a log."""
    return msgspec.convert(stored, Entry)
