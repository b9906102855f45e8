"""Random operations of every kind on few records, so that they meet.

Three areas, by namespace: records that many sessions fight over; records that expire soon; records of one session alone
("solo"), on which deletes by prefix can be foretold.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from bench.crash.hints import Hints, Namespace
from bench.crash.memory_workload import MemoryWorkload
from bench.crash.records import Key
from recollectd.protocol.messages import conversations, logs, state, transactions
from recollectd.protocol.messages.connection import NamespaceConfigure
from recollectd.protocol.messages.fields import Kind, Request, Write

SHARED: Final[tuple[Namespace, ...]] = (("t0", "a"), ("t0", "b"), ("t1",), ("t0", "a", "below"))
SHORT_LIVED: Final[Namespace] = ("t0", "ttl")
SLIDING: Final[Namespace] = ("t0", "sliding")
STATE_KEYS: Final = (*(f"k{number:02}" for number in range(12)), "k\x00zero", "kä\uffff", "k" + "long" * 200, "z*[?")
LOG_IDS: Final = ("log", "log/1", "log\x00", "other")
CONVERSATION_IDS: Final = ("chat", "chat-1", "chat-2")
SOLO_KEYS: Final = tuple(f"{prefix}/{number}" for prefix in ("p", "q") for number in range(6))
_ROLES: Final[tuple[conversations.Role, ...]] = ("user", "assistant")
HOUR_US: Final = 3_600_000_000


def solo_namespace(session: int) -> Namespace:
    """Return the namespace that only one session writes to."""
    return ("solo", f"session-{session}")


class Workload:
    """The operations of one session. solo_free: whether nothing of the session's solo area is unanswered."""

    def __init__(self, seed: str, session: int, hints: Hints) -> None:
        self.rng = random.Random(seed)
        self._session = session
        self._hints = hints
        self._counter = 0
        self.memories = MemoryWorkload(self.rng, hints)
        makers: list[tuple[float, Callable[..., Write]]] = [
            (30, self._put),
            (5, self._put_many),
            (8, self._delete),
            (5, self._touch),
            (7, self._short_lived),
            (2, self._sliding),
            (14, self._log_append),
            (5, self._log_pop),
            (4, self._log_truncate),
            (3, self._log_copy),
            (3, self._log_delete),
            (4, self._conversation_create),
            (14, self._conversation_append),
            (1, self._conversation_delete),
            (12, self._memory(self.memories.add)),
            (5, self._memory(self.memories.replace)),
            (4, self._memory(self.memories.mark)),
            (4, self._memory(self.memories.delete)),
            (2, self._memory(self.memories.create_space)),
            (1, self._memory(self.memories.drop_space)),
            (1, self._memory(self.memories.name_space)),
            (5, self._memory(self.memories.embed)),
            (4, self._memory(self.memories.embed_messages)),
            (2, self._memory(self.memories.switch)),
            (0.3, self._memory(self.memories.configure)),
            (7, self._batch),
            (9, self._transaction),
        ]
        self._weights = [weight for weight, _ in makers]
        self._makers = [maker for _, maker in makers]

    def write(self, *, solo_free: bool) -> tuple[Write, bool]:
        """Return the next write and whether it belongs to the solo area."""
        if solo_free and self.rng.random() < 0.08:
            return self._solo(), True
        return self.rng.choices(self._makers, self._weights)[0](), False

    def read(self) -> Request:
        """Return a read of something that is fought over."""
        namespace = self.rng.choice(SHARED)
        kind = self.rng.random()
        if kind < 0.6:
            return state.StateGet(namespace, self.rng.choice(STATE_KEYS))
        if kind < 0.75:
            return logs.LogHead(namespace, self.rng.choice(LOG_IDS))
        if kind < 0.85:
            return conversations.ConversationHead(namespace, self.rng.choice(CONVERSATION_IDS))
        if kind < 0.91:
            return self.memories.look(namespace)
        if kind < 0.97:
            return self.memories.find(namespace)
        return state.StateScan(namespace, prefix="k", values=False)

    # Pieces.

    def _value(self) -> Raw:
        """Return a value that exists once."""
        self._counter += 1
        size = self.rng.choices((20, 150, 3_000, 40_000, 300_000), (50, 40, 8, 1.5, 0.2))[0]
        # Half of it compresses, half does not: both paths of the journal are taken.
        filler = self.rng.randbytes(self.rng.randrange(size)) + bytes(self.rng.randrange(size))
        return Raw(msgspec.msgpack.encode([self._session, self._counter, filler]))

    def _shared(
        self, kind: Kind, names: tuple[str, ...], namespace: Namespace | None = None
    ) -> tuple[Namespace, str, Key]:
        namespace = namespace or self.rng.choice(SHARED)
        name = self.rng.choice(names)
        return namespace, name, (int(kind), namespace, name)

    def _version_guess(self, key: Key) -> int:
        return max(0, self._hints.versions.get(key, 0) + self.rng.choice((0, 0, 0, 0, 1, -1)))

    # State.

    def _put(self, namespace: Namespace | None = None) -> Write:
        namespace, name, key = self._shared(Kind.STATE, STATE_KEYS, namespace)
        guard: dict[str, Any] = {}
        if (draw := self.rng.random()) < 0.25:
            guard["if_version"] = self._version_guess(key)
        elif draw < 0.35:
            guard["if_absent"] = True
        elif draw < 0.45:
            guard["ttl_us"] = HOUR_US
        return state.StatePut(namespace, name, self._value(), **guard)

    def _put_many(self, namespace: Namespace | None = None) -> Write:
        namespace = namespace or self.rng.choice(SHARED)
        names = self.rng.sample(STATE_KEYS, self.rng.randint(1, 5))
        return state.StatePutMany(namespace, tuple(state.StateItem(name, self._value()) for name in names))

    def _delete(self, namespace: Namespace | None = None) -> Write:
        namespace, name, key = self._shared(Kind.STATE, STATE_KEYS, namespace)
        return state.StateDelete(namespace, name, self._version_guess(key) if self.rng.random() < 0.4 else None)

    def _touch(self, namespace: Namespace | None = None) -> Write:
        namespace, name, _ = self._shared(Kind.STATE, STATE_KEYS, namespace)
        return state.StateTouch(namespace, name, self.rng.choice((None, HOUR_US, 2 * HOUR_US)))

    def _short_lived(self) -> Write:
        namespace, name, key = self._shared(Kind.STATE, STATE_KEYS[:6], SHORT_LIVED)
        ttl_us = self.rng.randint(20_000, 250_000)
        draw = self.rng.random()
        if draw < 0.6:
            return state.StatePut(namespace, name, self._value(), ttl_us=ttl_us)
        if draw < 0.75:
            return state.StateTouch(namespace, name, ttl_us)
        if draw < 0.85:
            return state.StatePut(namespace, name, self._value(), ttl_us=ttl_us, if_version=self._version_guess(key))
        if draw < 0.95:
            return state.StatePut(namespace, name, self._value(), ttl_us=ttl_us, if_absent=True)
        return state.StateDelete(namespace, name)

    def _sliding(self) -> Write:
        namespace, name, _ = self._shared(Kind.STATE, STATE_KEYS[:4], SLIDING)
        return state.StatePut(namespace, name, self._value(), ttl_us=HOUR_US, sliding=True)

    def _solo(self) -> Write:
        namespace = solo_namespace(self._session)
        if self.rng.random() < 0.7:
            names = self.rng.sample(SOLO_KEYS, self.rng.randint(1, 4))
            return state.StatePutMany(namespace, tuple(state.StateItem(name, self._value()) for name in names))
        cursor = self._hints.solo_cursor.get(namespace, b"")
        return state.StateDeletePrefix(namespace, "p/", self.rng.randint(1, 4), cursor)

    # Logs.

    def _log_append(self, namespace: Namespace | None = None) -> Write:
        namespace, name, key = self._shared(Kind.LOG, LOG_IDS, namespace)
        items = tuple(self._value() for _ in range(self.rng.randint(1, 4)))
        return logs.LogAppend(
            namespace, name, items, self._hints.nexts.get(key, 0) if self.rng.random() < 0.2 else None
        )

    def _log_pop(self) -> Write:
        namespace, name, _ = self._shared(Kind.LOG, LOG_IDS)
        return logs.LogPopLast(namespace, name, self.rng.randint(1, 5))

    def _log_truncate(self, namespace: Namespace | None = None) -> Write:
        namespace, name, key = self._shared(Kind.LOG, LOG_IDS, namespace)
        end = self._hints.nexts.get(key, 5)
        if self.rng.random() < 0.7:
            return logs.LogTruncate(namespace, name, before=self.rng.randint(0, end + 1))
        return logs.LogTruncate(namespace, name, before=max(0, end - 20), after=end + self.rng.randint(-3, 1) + 20)

    def _log_copy(self) -> Write:
        namespace, name, _ = self._shared(Kind.LOG, LOG_IDS)
        return logs.LogCopy(
            namespace, name, self.rng.choice([each for each in SHARED if each[0] == namespace[0]]), "other"
        )

    def _log_delete(self, namespace: Namespace | None = None) -> Write:
        namespace, _, _ = self._shared(Kind.LOG, LOG_IDS, namespace)
        return logs.LogDelete(namespace, self.rng.choice(LOG_IDS[2:]))

    # Conversations.

    def _conversation_create(self, namespace: Namespace | None = None) -> Write:
        namespace, name, _ = self._shared(Kind.CONVERSATION, CONVERSATION_IDS, namespace)
        metadata = Raw(msgspec.msgpack.encode({"by": self._session})) if self.rng.random() < 0.5 else None
        return conversations.ConversationCreate(namespace, name if self.rng.random() < 0.8 else None, metadata)

    def _conversation_append(self, namespace: Namespace | None = None) -> Write:
        namespace, name, _ = self._shared(Kind.CONVERSATION, CONVERSATION_IDS, namespace)
        if self._hints.conversations and self.rng.random() < 0.2:
            given = [each for each in self._hints.conversations if each[0][0] == namespace[0]]
            namespace, name = self.rng.choice(given) if given else (namespace, name)
        messages = []
        for _ in range(self.rng.choice((1, 1, 1, 3))):
            self._counter += 1
            # Few caller's ids: duplicates happen.
            message_id = f"id-{self.rng.randrange(400)}" if self.rng.random() < 0.4 else None
            content = f"message {self._session}/{self._counter} " + "ä" * self.rng.randrange(100)
            content += f" {self.memories.words()}" if self.rng.random() < 0.3 else ""
            valid_at = self.rng.choice((None, 1_700_000_000_000_000))
            role, vectors = self.rng.choice(_ROLES), self.memories.vectors(0.1)
            messages.append(conversations.NewMessage(role, content, message_id, valid_at, vectors=vectors))
        return conversations.ConversationAppend(namespace, name, tuple(messages), self.rng.random() < 0.5)

    def _conversation_delete(self, namespace: Namespace | None = None) -> Write:
        namespace, name, _ = self._shared(Kind.CONVERSATION, CONVERSATION_IDS, namespace)
        return conversations.ConversationDelete(namespace, name)

    # Memories.

    def _memory(self, make: Callable[[Namespace], Write]) -> Callable[[Namespace | None], Write]:
        def anywhere(namespace: Namespace | None = None) -> Write:
            return make(namespace or self.rng.choice(SHARED))

        return anywhere

    # Several at once.

    def _operations(self, namespaces: list[Namespace]) -> tuple[Any, ...]:
        makers: list[Callable[[Namespace | None], Write]] = [
            self._put,
            self._put,
            self._put_many,
            self._delete,
            self._touch,
            self._log_append,
            self._log_append,
            self._log_truncate,
            self._log_delete,
            self._conversation_create,
            self._conversation_append,
            self._conversation_append,
            self._conversation_delete,
            self._memory(self.memories.add),
            self._memory(self.memories.replace),
            self._memory(self.memories.mark),
            self._memory(self.memories.delete),
            self._memory(self.memories.create_space),
            self._memory(self.memories.drop_space),
        ]
        return tuple(self.rng.choice(makers)(self.rng.choice(namespaces)) for _ in range(self.rng.randint(1, 5)))

    def _together(self) -> list[Namespace]:
        label = self.rng.choice(SHARED)[0]
        return [each for each in SHARED if each[0] == label]

    def _batch(self) -> Write:
        return transactions.Batch(self._operations(self._together()))

    def _transaction(self) -> Write:
        namespaces = self._together()
        guards: list[transactions.Guard] = []
        for _ in range(self.rng.choice((0, 1, 1, 2))):
            seen = [key for key in self._hints.revisions if key[1] in namespaces]
            ranges = [each for each in self._hints.ranges if each[1] in namespaces]
            if seen and self.rng.random() < 0.8:
                key = self.rng.choice(seen)
                guards.append(transactions.RecordGuard(*key, self._hints.revisions[key]))
            elif ranges:
                kind, namespace = self.rng.choice(ranges)
                guards.append(transactions.RangeGuard(kind, namespace, self._hints.ranges[kind, namespace]))
        return transactions.Transaction(tuple(guards), self._operations(namespaces))

    def configure(self) -> Write:
        """Return a change of how much history a namespace keeps, for a moment when nothing else is written."""
        return NamespaceConfigure(("t1",), self.rng.choice((2, 5, 40, None)), None)
