"""What a swarm has decided, in the order in which it was."""

from __future__ import annotations

from collections import deque
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Final, Self

from msgspec import Struct

from recollectd.client.arguments import name, range_text, whole
from recollectd.client.blocking.client import Client
from recollectd.client.blocking.watch import Watch
from recollectd.client.results import Change, LogItem
from recollectd.protocol import limits

PREFIX: Final = "coordination:"


class Decision(Struct, frozen=True):
    """One decision; `position` counts the swarm's decisions from 0."""

    id: str
    decision: Any
    stored_at: str
    position: int


class SwarmMemory:
    """The decisions of one swarm, which every member may add to and sees in one order.

    They are the log `coordination:<swarm_id>`. Any number of processes may store at once; none waits for another, and
    nothing is overwritten: a second decision with one id stands behind the first.
    """

    def __init__(self, swarm_id: str, *, client: Client) -> None:
        self.swarm_id = name(swarm_id, "swarm_id", limits.KEY_BYTES_MAX - len(PREFIX))
        self._log_id = PREFIX + swarm_id
        self._client = client

    def store_decision(self, id: str, decision: object) -> Decision:
        """Append a decision: any value that msgpack carries."""
        stored = self._client.logs.append(self._log_id, [{"id": name(id, "id"), "decision": decision}])
        return Decision(id, decision, stored.stored_at, stored.first)

    def history(self, limit: int = 100, *, pattern: str = "") -> list[Decision]:
        """Return the newest `limit` decisions, the newest first.

        pattern: only those whose id, or `coordination:<swarm_id>:<id>`, matches this glob (`*`, `?`, `[seq]`). The log
        is read from its end until there are enough.
        """
        whole(limit, "limit", least=1)
        range_text(pattern, "pattern")
        found: list[Decision] = []
        before: int | None = None
        while len(found) < limit:
            page_items = min(limits.PAGE_ITEMS_MAX, limit if not pattern else max(limit, limits.PAGE_ITEMS_DEFAULT))
            if before is None:
                page = self._client.logs.read(self._log_id, last=page_items, limit=page_items)
            else:
                page = self._client.logs.read(self._log_id, before=before, limit=page_items)
            if not page.items:
                break
            decisions = [_decision(item) for item in reversed(page.items)]
            found.extend(one for one in decisions if self._matches(one.id, pattern))
            before = page.items[0].position
            if before == page.first:
                break
        return found[:limit]

    def watch(self, *, position: int | None = None) -> DecisionWatch:
        """Return an iterator over decisions as they are stored, from now on or behind a watch's `position`."""
        watch = self._client.watch(self._log_id, kinds=("log",), values=True, position=position)
        return DecisionWatch(watch, self._client.namespace, self._log_id)

    def _matches(self, id: str, pattern: str) -> bool:
        return not pattern or fnmatchcase(id, pattern) or fnmatchcase(f"{self._log_id}:{id}", pattern)


class DecisionWatch:
    """Decisions as they are stored, for one thread; `close`, from any, ends it. Raises Resync when some were missed."""

    def __init__(self, watch: Watch, namespace: tuple[str, ...], log_id: str) -> None:
        self._watch = watch
        self._target = (namespace, log_id)
        self._decisions: deque[Decision] = deque()

    @property
    def position(self) -> int:
        """The position to watch from later."""
        return self._watch.position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Decision:
        """Wait for the next decision."""
        while not self._decisions:
            change = next(self._watch)
            if (change.namespace, change.key) == self._target and change.operation == "append":
                self._decisions.extend(_decisions(change))
        return self._decisions.popleft()

    def close(self) -> None:
        """End the watch."""
        self._watch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _decision(item: LogItem) -> Decision:
    return Decision(item.value["id"], item.value["decision"], item.stored_at, item.position)


def _decisions(change: Change) -> list[Decision]:
    first = change.version - len(change.data)
    return [
        Decision(value["id"], value["decision"], change.time, first + index) for index, value in enumerate(change.data)
    ]
