"""Random operations on memories and vector spaces against a plain model, with commits that wait, crashes, replays."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from memory.asking import NS, batch, memory, space, transaction, vector
from memory.harness import SECOND, Store
from memory.model_memories import Model, drawn_ids, outcome
from recollectd.memory.memories.heads import memory_key, unpack_vectors, vectors_key
from recollectd.memory.memories.sweeps import StripVectors
from recollectd.memory.sequencer import Author
from recollectd.memory.state.sweeps import Expire
from recollectd.protocol import table
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages import vector_spaces
from recollectd.storage.keyspace import Family

SESSION = bytes(range(16))
IDS = ("a", "b", "c", "a\0")
TEXTS = ("tea", "cake", "é")
SPACES = ("s", "t")


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
    st.permutations(SPACES).map(lambda pair: vector_spaces.SpaceAlias(NS, pair[0], pair[1])),
    st.builds(vector_spaces.SpaceDrop, st.just(NS), names),
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

    @rule(
        space=names,
        given=st.lists(
            st.tuples(ids, st.integers(1, 3), st.sampled_from([vector(1), vector(1, 2)])),
            min_size=1,
            max_size=3,
            unique_by=lambda each: each[0],
        ),
    )
    def embed(self, space: str, given: list[tuple[str, int, bytes]]) -> None:
        vectors = tuple(vector_spaces.MemoryVector(*each) for each in given)
        self.write(vector_spaces.SpaceEmbed(NS, space, vectors))

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
    def strip(self) -> None:
        """Nobody can tell but by the bytes."""
        if self.store.run(StripVectors()):
            self.models.append(self.models[-1])

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
            assert each.vectors == model.told_vectors(kept)
            assert self.store.read(messages.MemoryGet(NS, (each.memory_id,), True)).memories == (each,)
        for name in model.spaces:
            lacking = [key for key, kept in wanted.items() if name not in model.told_vectors(kept)]
            request = messages.MemoryList(NS, hidden=True, limit=1_000, lacking=name)
            assert {each.memory_id for each in self.store.read(request).memories} == set(lacking)
            assert self.store.read(messages.MemoryCount(NS, hidden=True, lacking=name)).count == len(lacking)
        visible = sum(not kept.forgotten and kept.superseded_by is None for kept in wanted.values())
        assert self.store.read(messages.MemoryCount(NS)).count == visible
        for memory_id, kept in model.kept.items():
            history = self.store.read(messages.MemoryHistory(NS, memory_id)).versions
            assert [each.memory and each.memory.text for each in history] == kept.versions[::-1]
        spaces = self.store.read(vector_spaces.SpaceList(NS)).spaces
        assert {each.name: each.alias_of for each in spaces} == {**dict.fromkeys(model.spaces, ""), **model.aliases}

    def _check_bytes(self) -> None:
        """What lies beside memories is what is told: nothing of a dropped space is left."""
        model = self.models[self.store.position]
        for key, row in self.store.engine.families[Family.ENTRIES].items():
            memory_id = next(each for each in model.kept if vectors_key(memory_key(NS, each)) == key)
            stored = {name: each.components for name, each in unpack_vectors(row).items()}
            assert stored == model.told_vectors(model.kept[memory_id])

    def teardown(self) -> None:
        if not hasattr(self, "store") or len(self.models) != self.store.sequencer.last_seq + 1:
            return  # it has failed already
        self.store.apply()
        while self.store.run(StripVectors()):
            self.models.append(self.models[-1])
        self._check_bytes()
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
