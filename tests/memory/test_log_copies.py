"""Copying a log: positions and times stay, and the copy is of one moment."""

from __future__ import annotations

from typing import Any

import pytest

from memory.asking import NS, append, log_read, plain
from memory.harness import SECOND, Store, operation_of
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import logs
from recollectd.protocol.messages.state import Absent
from recollectd.storage.keyspace import Family


@pytest.fixture
def store() -> Store:
    """A log of ten items, one a second."""
    store = Store()
    for index in range(10):
        store.write(append("l", index))
        store.now += SECOND
    return store


def items(store: Store, log_id: str = "l", **fields: Any) -> list[tuple[int, Any]]:
    return [(item.position, plain(item.value)) for item in store.read(log_read(log_id, **fields)).items]


def same(*positions: int) -> list[tuple[int, int]]:
    return [(position, position) for position in positions]


def head(store: Store, log_id: str = "l", ns: tuple[str, ...] = NS) -> Any:
    return store.read(logs.LogHead(ns, log_id))


def truncate(log_id: str, before: int | None = None, after: int | None = None) -> logs.LogTruncate:
    return logs.LogTruncate(NS, log_id, before, after)


def test_copying_keeps_positions_and_times(store: Store) -> None:
    store.write(truncate("l", 4, 8))
    store.now += 100 * SECOND
    target = ("acme", "other")
    info = store.write(logs.LogCopy(NS, "l", target, "copy"))
    assert (info.first, info.next, info.created_at) == (4, 8, store.now)
    assert info == head(store, "copy", target)
    original, copied = store.read(log_read("l")), store.read(log_read("copy", ns=target))
    assert copied.items == original.items
    store.write(append("copy", "more", ns=target))
    assert [plain(item.value) for item in store.read(log_read("copy", ns=target, since=store.now)).items] == ["more"]
    assert items(store) == same(4, 5, 6, 7)
    store.check_replay()


def test_copying_is_refused(store: Store) -> None:
    refusals = {
        logs.LogCopy(NS, "never", NS, "copy"): errors.NotFound,
        logs.LogCopy(NS, "l", NS, "l"): errors.AlreadyExists,
        logs.LogCopy(NS, "l", ("elsewhere",), "l"): errors.CrossShard,
    }
    for request, error in refusals.items():
        with pytest.raises(error):
            store.write(request)
    assert store.engine.count(Family.HEADS) == 1


def test_copying_an_emptied_log(store: Store) -> None:
    store.write(truncate("l", 10))
    assert store.write(logs.LogCopy(NS, "l", NS, "copy")).next == 10
    assert store.write(append("copy", "x")).first == 10
    store.check_replay()


def test_copying_in_several_reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES_MAX", 25)
    store.write(logs.LogCopy(NS, "l", NS, "copy"))
    monkeypatch.undo()
    assert items(store, "copy") == same(*range(10))


def test_copying_too_much_says_what_is_too_much(store: Store) -> None:
    """Up to what a commit holds, and with the true bound in the message."""
    for _ in range(11):
        store.write(append("large", b"x" * 2_000_000))
    store.write(logs.LogCopy(NS, "large", NS, "copy"))
    for _ in range(2):
        store.write(append("large", b"x" * 2_000_000))
    with pytest.raises(errors.TooLarge, match=str(limits.COMMIT_BYTES_MAX)):
        store.write(logs.LogCopy(NS, "large", NS, "again"))
    assert head(store, "again") == Absent()


def test_a_copy_that_was_overtaken_is_made_again(store: Store) -> None:
    operation = operation_of(logs.LogCopy(NS, "l", NS, "copy"))
    store.prepare(operation)
    store.sequence(append("l", 10))
    store.sequence(operation)
    store.apply()
    assert items(store, "copy") == same(*range(11))
