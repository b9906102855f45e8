"""Random operations on memories and vector spaces against a plain model, with commits that wait, crashes, replays."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from memory.asking import NS, batch, memory, space, transaction, vector
from memory.harness import SECOND, Store
from recollectd.memory.sequencer import Author
from recollectd.memory.state.sweeps import Expire
from recollectd.protocol import errors, table
from recollectd.protocol.messages import connection, transactions
from recollectd.protocol.messages import memories as messages

SESSION = bytes(range(16))
IDS = ("a", "b", "c", "a\0")
TEXTS = ("tea", "cake", "é")
SPACES = ("s", "t")


@dataclass
class Kept:
    """A memory with its versions, newest last; a text of None: absent."""

    versions: list[str | None] = field(default_factory=list)
    vectors: dict[tuple[str, int], bytes] = field(default_factory=dict)
    thread: str = ""
    position: int = 0
    expires_at: int | None = None
    forgotten: bool = False
    superseded_by: str | None = None

    def alive(self, time: int) -> bool:
        return bool(self.versions) and self.versions[-1] is not None and not self.over(time)

    def over(self, time: int) -> bool:
        return self.expires_at is not None and time >= self.expires_at


@dataclass
class Model:
    """What the namespace holds after a commit. order: ids in the order in which their texts came to be."""

    kept: dict[str, Kept] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    threads: dict[str, int] = field(default_factory=dict)
    spaces: dict[str, tuple[int, int]] = field(default_factory=dict)  # dimensions, incarnation
    aliases: dict[str, str] = field(default_factory=dict)

    def after(self, request: Any, seq: int, time: int, drawn: list[Any]) -> tuple[Model, Any]:
        following = deepcopy(self)
        try:
            return following, following._carry_out(request, seq, time, drawn)
        except errors.RequestError as refused:
            return self, (type(refused), refused.field)

    def _carry_out(self, request: Any, seq: int, time: int, drawn: list[Any]) -> Any:
        if isinstance(request, transactions.Transaction | transactions.Batch):
            results = []
            for index, operation in enumerate(request.operations):
                before = deepcopy(self.__dict__)
                try:
                    own = drawn[index] if drawn else []
                    results.append(self._carry_out(operation, seq, time, own))
                except errors.RequestError as refused:
                    refused.field = f"operations[{index}].{refused.field}"
                    if isinstance(request, transactions.Transaction):
                        raise
                    self.__dict__.update(before)
                    results.append((type(refused), refused.field))
            return results
        name = f"_{type(request).__name__}"
        return getattr(self, name)(request, seq, time, drawn)

    def _settle(self, memory_id: str, time: int) -> Kept | None:
        kept = self.kept.get(memory_id)
        if kept is not None and kept.versions[-1] is not None and kept.over(time):
            self._remove(memory_id, kept)
        return kept

    def _remove(self, memory_id: str, kept: Kept) -> None:
        kept.versions.append(None)
        kept.vectors, kept.expires_at = {}, None
        self.order.remove(memory_id)

    def _version(self, memory_id: str, if_version: int | None, time: int) -> None:
        kept = self.kept.get(memory_id)
        version = len(kept.versions) if kept is not None and kept.alive(time) else 0
        if if_version not in (None, version):
            raise errors.VersionConflict(field="if_version")

    def _resolved(self, vectors: dict[str, bytes] | None, where: str) -> dict[tuple[str, int], bytes]:
        found: dict[tuple[str, int], bytes] = {}
        for told, components in (vectors or {}).items():
            name = self.aliases.get(told, told)
            if name not in self.spaces:
                raise errors.NotFound(field=f"{where}vectors[{told!r}]")
            dimensions, incarnation = self.spaces[name]
            if len(components) != 4 * dimensions or (name, incarnation) in found:
                raise errors.InvalidArgument(field=f"{where}vectors[{told!r}]")
            found[name, incarnation] = components
        return found

    def _MemoryAdd(self, request: messages.MemoryAdd, seq: int, time: int, drawn: list[Any]) -> Any:
        return [
            self._add(new, request.if_new, f"memories[{n}].", time, drawn) for n, new in enumerate(request.memories)
        ]

    def _add(self, new: messages.NewMemory, if_new: bool, where: str, time: int, drawn: list[Any]) -> Any:
        if new.memory_id is not None:
            there = self._settle(new.memory_id, time)
            if there is not None and there.alive(time):
                if if_new:
                    return new.memory_id, len(there.versions), True
                raise errors.AlreadyExists(field=f"{where}memory_id")
        if if_new:
            for memory_id in self.order:
                twin = self.kept[memory_id]
                hidden = twin.forgotten or twin.superseded_by is not None
                if twin.versions[-1] == new.text and twin.alive(time) and not hidden:
                    return memory_id, len(twin.versions), True
        vectors = self._resolved(new.vectors, where)
        memory_id = new.memory_id if new.memory_id is not None else drawn.pop(0) if drawn else "of a write refused"
        before = self.kept.get(memory_id)
        kept = self.kept[memory_id] = Kept([] if before is None else before.versions)
        if new.conversation_id is not None:
            kept.thread, kept.position = new.conversation_id, self.threads.get(new.conversation_id, 0)
            self.threads[new.conversation_id] = kept.position + 1
        self._write(memory_id, new, vectors, time)
        self.order.append(memory_id)
        return memory_id, len(kept.versions), False

    def _write(self, memory_id: str, new: messages.NewMemory, vectors: dict[tuple[str, int], bytes], time: int) -> None:
        kept = self.kept[memory_id]
        same = bool(kept.versions) and kept.versions[-1] == new.text
        if new.vectors is not None or not same:
            kept.vectors = vectors
        kept.versions.append(new.text)
        kept.expires_at = None if new.ttl_us is None else time + new.ttl_us

    def _MemoryReplace(self, request: messages.MemoryReplace, seq: int, time: int, drawn: list[Any]) -> Any:
        memory_id = request.memory.memory_id or ""
        self._version(memory_id, request.if_version, time)
        kept = self._settle(memory_id, time)
        if kept is None or kept.versions[-1] is None:
            raise errors.NotFound(field="memory.memory_id")
        vectors = self._resolved(request.memory.vectors, "memory.")
        ends = kept.expires_at
        if kept.versions[-1] != request.memory.text:
            self.order.remove(memory_id)
            self.order.append(memory_id)
        self._write(memory_id, request.memory, vectors, time)
        if request.keep_expiry:
            kept.expires_at = ends
        return [(memory_id, len(kept.versions), False)]

    def _present(self, memory_id: str, field: str, time: int) -> Kept:
        kept = self._settle(memory_id, time)
        if kept is None or kept.versions[-1] is None:
            raise errors.NotFound(field=field)
        return kept

    def _MemoryForget(self, request: messages.MemoryForget, seq: int, time: int, drawn: list[Any]) -> Any:
        self._version(request.memory_id, request.if_version, time)
        kept = self._present(request.memory_id, "memory_id", time)
        kept.forgotten = not request.undo
        return len(kept.versions)

    def _MemorySupersede(self, request: messages.MemorySupersede, seq: int, time: int, drawn: list[Any]) -> Any:
        self._version(request.memory_id, request.if_version, time)
        kept = self._present(request.memory_id, "memory_id", time)
        self._present(request.superseded_by, "superseded_by", time)
        kept.superseded_by = request.superseded_by
        return len(kept.versions)

    def _MemoryDelete(self, request: messages.MemoryDelete, seq: int, time: int, drawn: list[Any]) -> Any:
        self._version(request.memory_id, request.if_version, time)
        kept = self._settle(request.memory_id, time)
        if kept is None or kept.versions[-1] is None:
            return 0
        self._remove(request.memory_id, kept)
        return 1

    def _SpaceCreate(self, request: messages.SpaceCreate, seq: int, time: int, drawn: list[Any]) -> Any:
        if request.name in self.spaces or request.name in self.aliases:
            raise errors.AlreadyExists(field="name")
        self.spaces[request.name] = request.dimensions, seq

    def _SpaceAlias(self, request: messages.SpaceAlias, seq: int, time: int, drawn: list[Any]) -> Any:
        if request.name in self.spaces:
            raise errors.AlreadyExists(field="name")
        if request.alias_of not in self.spaces:
            raise errors.NotFound(field="alias_of")
        self.aliases[request.name] = request.alias_of

    def _SpaceDrop(self, request: messages.SpaceDrop, seq: int, time: int, drawn: list[Any]) -> Any:
        return int(self.spaces.pop(request.name, None) is not None or self.aliases.pop(request.name, None) is not None)


def outcome(reply: Any) -> Any:
    """Return what of a reply the model foretells."""
    match reply:
        case connection.ErrorReply():
            return errors.ERROR_BY_CODE[reply.code], reply.field
        case transactions.Results():
            return [outcome(each) for each in reply.results]
        case messages.MemoriesStored():
            return [(each.memory_id, each.version, each.duplicate) for each in reply.memories]
        case messages.MemoryMarked():
            return reply.version
        case connection.Deleted():
            return reply.deleted
    return None


def drawn_ids(request: Any, reply: Any) -> list[Any]:
    """Return the ids that the store drew, in order; a list for each of several operations."""
    if isinstance(reply, transactions.Results):
        return [drawn_ids(*pair) for pair in zip(request.operations, reply.results, strict=True)]
    if not isinstance(reply, messages.MemoriesStored) or not isinstance(request, messages.MemoryAdd):
        return []
    pairs = zip(request.memories, reply.memories, strict=True)
    return [stored.memory_id for new, stored in pairs if new.memory_id is None and not stored.duplicate]


ids = st.sampled_from(IDS)
names = st.sampled_from(SPACES)
versions = st.none() | st.integers(0, 3)
told = st.none() | st.dictionaries(names, st.sampled_from([vector(1), vector(1, 2)]), max_size=2)
news = st.builds(
    lambda text, memory_id, **fields: memory(text, memory_id, **fields),
    st.sampled_from(TEXTS),
    ids | st.none(),
    vectors=told,
    conversation_id=st.sampled_from([None, "x"]),
    ttl_us=st.sampled_from([None, None, SECOND]),
)
replacing = st.builds(
    lambda new, memory_id, version, keep: messages.MemoryReplace(
        NS, memory(new.text, memory_id, vectors=new.vectors, ttl_us=None if keep else new.ttl_us), version, keep
    ),
    news,
    ids,
    versions,
    st.booleans(),
)
operations = st.one_of(
    st.builds(
        lambda added, if_new: messages.MemoryAdd(NS, tuple(added), if_new),
        st.lists(news, min_size=1, max_size=3, unique_by=lambda new: new.memory_id or id(new)),
        st.booleans(),
    ),
    replacing,
    st.builds(messages.MemoryForget, st.just(NS), ids, versions, st.booleans()),
    st.permutations(IDS).flatmap(
        lambda pair: st.builds(messages.MemorySupersede, st.just(NS), st.just(pair[0]), st.just(pair[1]), versions)
    ),
    st.builds(messages.MemoryDelete, st.just(NS), ids, versions),
    st.builds(space, names, st.sampled_from([1, 2])),
    st.permutations(SPACES).map(lambda pair: messages.SpaceAlias(NS, pair[0], pair[1])),
    st.builds(messages.SpaceDrop, st.just(NS), names),
)


class Comparison(RuleBasedStateMachine):
    """A store and its models, one for each commit."""

    @initialize(facts_count_max=st.sampled_from([1, 4, 10_000]))
    def begin(self, facts_count_max: int) -> None:
        self.store = Store(facts_count_max=facts_count_max)
        self.models = [Model()]
        self.number = 0

    def write(self, request: Any) -> None:
        self.number += 1
        author = Author("ada", SESSION, self.number, max(1, self.number - 20), self.number)
        sequenced = self.store.sequence(request, author)
        reply = table.decode_reply(sequenced.commit.reply)
        drawn = drawn_ids(request, reply)
        following, expected = self.models[-1].after(request, sequenced.seq, sequenced.commit.time, drawn)
        assert outcome(reply) == expected
        self.models.append(following)

    @rule(request=operations)
    def write_one(self, request: Any) -> None:
        self.write(request)

    @rule(chosen=st.lists(operations, min_size=1, max_size=4), make=st.sampled_from([transaction, batch]))
    def write_several(self, chosen: list[Any], make: Callable[..., Any]) -> None:
        self.write(make(*chosen))

    @rule(count=st.integers(1, 3))
    def apply(self, count: int) -> None:
        self.store.apply(min(count, len(self.store.waiting)))

    @rule(seconds=st.sampled_from([0.5, 1.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.store.now += int(seconds * SECOND)

    @rule()
    def expire(self) -> None:
        before = len(self.store.journal) + len(self.store.waiting)
        if self.store.run(Expire()):
            following = deepcopy(self.models[-1])
            time = max(self.store.now, self.store.last_time)
            for memory_id in list(following.kept):
                following._settle(memory_id, time)
            self.models.append(following)
        assert len(self.store.journal) <= before + 1

    @rule()
    def checkpoint(self) -> None:
        self.store.checkpoint()

    @rule()
    def crash(self) -> None:
        self.store.crash()
        del self.models[len(self.store.journal) + 1 :]

    @rule()
    def read(self) -> None:
        """Everything applied, by every way of reading."""
        model, time = self.models[self.store.position], self.store.view().time
        wanted = {memory_id: kept for memory_id, kept in model.kept.items() if kept.alive(time)}
        listed = self.store.read(messages.MemoryList(NS, hidden=True, vectors=True, limit=1_000)).memories
        assert [each.memory_id for each in listed] == sorted(wanted, key=str.encode)
        for each in listed:
            kept = wanted[each.memory_id]
            found = (each.text, each.version, each.expires_at, each.superseded_by, each.forgotten_at is not None)
            assert found == (
                kept.versions[-1],
                len(kept.versions),
                kept.expires_at,
                kept.superseded_by,
                kept.forgotten,
            )
            assert (each.conversation_id or "", each.position) == (kept.thread, kept.position)
            assert each.vectors == {name: components for (name, _), components in kept.vectors.items()}
            assert self.store.read(messages.MemoryGet(NS, (each.memory_id,), True)).memories == (each,)
        visible = sum(not kept.forgotten and kept.superseded_by is None for kept in wanted.values())
        assert self.store.read(messages.MemoryCount(NS)).count == visible
        for memory_id, kept in model.kept.items():
            history = self.store.read(messages.MemoryHistory(NS, memory_id)).versions
            assert [each.memory and each.memory.text for each in history] == kept.versions[::-1]
        spaces = self.store.read(messages.SpaceList(NS)).spaces
        assert {each.name: each.alias_of for each in spaces} == {**dict.fromkeys(model.spaces, ""), **model.aliases}

    def teardown(self) -> None:
        if not hasattr(self, "store") or len(self.models) != self.store.sequencer.last_seq + 1:
            return  # it has failed already
        self.store.apply()
        self.store.check_replay()
        self.read()


def run(examples: int, steps_max: int) -> None:
    checks = settings(max_examples=examples, stateful_step_count=steps_max, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Comparison, settings=checks)


def test_memories_keep_their_promises() -> None:
    run(60, 30)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_memories_keep_their_promises_for_long() -> None:
    run(3_000, 100)
