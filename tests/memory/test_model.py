"""Random operations of all kinds against a plain model, with commits that wait, crashes, and replays.

The model is at the last sequenced commit; reads are compared with the one at the last applied commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from memory import model_views as views
from memory.asking import key_of
from memory.engine import MemoryEngine, records
from memory.harness import SECOND, Store
from memory.model import Model, Namespace, Policies
from memory.model_requests import KEYS, NAMESPACES, SESSION, alone, key, ns, operations, steps
from recollectd.memory.sequencer import Author, Sequenced
from recollectd.memory.settings.events import HistoryPolicy
from recollectd.memory.state.sweeps import Expire, Prune, Refresh
from recollectd.protocol import errors, limits, table
from recollectd.protocol.messages import connection, conversations, logs, state, transactions
from recollectd.protocol.messages.fields import Kind


def error_of(reply: Any) -> Any:
    """Return a reply, an error reply as its class, of several replies a list."""
    if isinstance(reply, connection.ErrorReply):
        return errors.ERROR_BY_CODE[reply.code]
    return [error_of(each) for each in reply.results] if isinstance(reply, transactions.Results) else reply


def drawn_ids(request: Any, reply: Any) -> Iterator[str]:
    """Yield the ids that the store drew for a request, in order."""
    if isinstance(request, transactions.Transaction | transactions.Batch):
        if isinstance(reply, transactions.Results):
            for operation, result in zip(request.operations, reply.results, strict=True):
                yield from drawn_ids(operation, result)
    elif isinstance(reply, conversations.ConversationCreated) and request.conversation_id is None:
        yield reply.conversation_id
    elif isinstance(reply, conversations.MessagesStored):
        for sent, stored in zip(request.messages, reply.messages, strict=True):
            if sent.message_id is None:
                yield stored.message_id


class Comparison(RuleBasedStateMachine):
    """A store and its models, one for each commit."""

    @initialize(
        count=st.sampled_from([0, 0, 1, 3]),
        age_us=st.sampled_from([0, 5 * SECOND]),
        facts_count_max=st.sampled_from([1, 4, 10_000]),
    )
    def begin(self, count: int, age_us: int, facts_count_max: int) -> None:
        self.store = Store(policy=HistoryPolicy(count, age_us), facts_count_max=facts_count_max)
        self.models = [Model(Policies((count, age_us)))]
        self.replies: dict[int, tuple[int, bytes]] = {}
        self.number = 0
        self.doubt = 0  # guards of a range read before this may fail without need
        self.told_time = 0
        self.expire = Expire()
        self.guards: list[transactions.Guard] = []

    @property
    def applied(self) -> Model:
        return self.models[self.store.position]

    @property
    def last(self) -> Model:
        return self.models[-1]

    def time(self) -> int:
        """Journal time: never before a commit's, not even of one that was taken back."""
        return max(self.store.now, self.last.time, self.told_time)

    # -- writes -------------------------------------------------------------------------------------------------------

    def write(self, request: Any) -> None:
        self.number += 1
        author = Author("ada", SESSION, self.number, max(1, self.number - 20), self.number)
        sequenced = self.store.sequence(request, author)
        self.replies[self.number] = (sequenced.seq, sequenced.commit.reply)
        self.compare(request, sequenced)

    def compare(self, request: Any, sequenced: Sequenced) -> None:
        reply = table.decode_reply(sequenced.commit.reply)
        if error_of(reply) is errors.TransactionConflict:
            self.accept_a_conflict_without_need(request)
        given = drawn_ids(request, reply)
        following, expected = self.last.after(request, self.time(), self.applied.policies, given)
        assert error_of(reply) == expected
        assert next(given, None) is None
        assert (sequenced.seq, sequenced.commit.time) == (following.seq, following.time)
        if isinstance(expected, type):
            assert sequenced.commit.events == ()
        self.models.append(following)

    def accept_a_conflict_without_need(self, request: transactions.Transaction) -> None:
        """After a restart or a roll-back a range may count as changed that is not; never the other way round."""
        for each in request.guards:
            if isinstance(each, transactions.RangeGuard) and each.position < self.doubt:
                self.last.changed[each.kind, each.namespace] = self.doubt

    @rule(request=operations)
    def write_one(self, request: Any) -> None:
        self.write(request)

    @rule(request=operations)
    def write_another(self, request: Any) -> None:
        self.write(request)

    @rule(request=alone)
    def write_prepared(self, request: Any) -> None:
        self.store.apply()
        self.write(request)

    @rule(chosen=st.lists(operations, max_size=5))
    def write_batch(self, chosen: list[Any]) -> None:
        self.write(transactions.Batch(tuple(chosen)))

    @rule(chosen=st.lists(operations, max_size=5), old=st.booleans(), data=st.data())
    def write_transaction(self, chosen: list[Any], old: bool, data: st.DataObject) -> None:
        guards = tuple(data.draw(st.lists(st.sampled_from(self.guards), max_size=3))) if self.guards and old else ()
        request = transactions.Transaction(guards, tuple(chosen))
        self.write(request)

    @rule(where=ns, name=key, kind=st.sampled_from([Kind.STATE, Kind.LOG, Kind.CONVERSATION]))
    def read_for_a_transaction(self, where: Namespace, name: str, kind: Kind) -> None:
        """What a client would guard: the record as it is applied now, and the range it lies in."""
        time = self.store.view().time
        revision = self.applied.revision(kind, (where, name), time)
        self.guards.append(transactions.RecordGuard(int(kind), where, name, revision))
        until = views.valid_until(self.applied, where, time) if kind is Kind.STATE else limits.TIME_US_MAX
        self.guards.append(transactions.RangeGuard(int(kind), where, self.store.position, until))
        del self.guards[:-8]

    # -- time and what the daemon does by itself ----------------------------------------------------------------------

    @rule(step=steps)
    def wait(self, step: int) -> None:
        self.store.now += step

    @rule(data=st.data())
    def wait_for_an_expiry(self, data: st.DataObject) -> None:
        expiries = [each.expires_at for each in self.last.states.values() if each.expires_at is not None]
        if expiries:
            self.store.now = max(
                self.store.now, data.draw(st.sampled_from(sorted(expiries))) - data.draw(st.integers(0, 1))
            )

    @rule(back=st.integers(1, 3 * SECOND))
    def set_the_clock_back(self, back: int) -> None:
        self.store.now -= back

    def swept(self, following: Model) -> None:
        assert (self.store.position, self.store.last_time) == (following.seq, following.time)
        self.models.append(following)

    @rule()
    def sweep_expired(self) -> None:
        self.store.apply()
        while views.due(self.last, self.time()):
            following = views.expired(self.last, self.time(), self.applied.policies)
            assert self.store.run(self.expire)
            self.swept(following)
        assert not self.store.run(self.expire)

    @rule()
    def walk_past_expiries_to_come(self) -> None:
        """The sweep walks while commits wait: what they bring must not be lost to it."""
        self.store.prepare(self.expire)

    @rule(names=st.lists(st.tuples(ns, key), min_size=1, max_size=3))
    def refresh(self, names: list[tuple[Namespace, str]]) -> None:
        self.store.apply()
        following = views.refreshed(self.last, self.time(), names)
        assert self.store.run(Refresh([key_of(name, where) for where, name in names]))
        self.swept(following)

    @rule()
    def prune(self) -> None:
        self.store.apply()
        following = views.pruned(self.last, self.time(), self.applied.policies)
        if self.store.run(Prune(self.store.sequencer.policies)):
            self.swept(following)
        else:
            following.seq, following.time = self.last.seq, self.last.time
            assert following == self.last

    # -- what may happen to commits -----------------------------------------------------------------------------------

    @rule(count=st.integers(1, 4))
    def apply(self, count: int) -> None:
        self.store.apply(min(count, len(self.store.waiting)))

    @precondition(lambda self: self.store.waiting)
    @rule()
    def roll_back(self) -> None:
        """The journal had no room; all that is durable is applied."""
        self.doubt, self.told_time = self.last.seq, self.last.time
        self.store.roll_back()
        self.forget_from(self.store.position)

    def forget_from(self, seq: int) -> None:
        del self.models[seq + 1 :]
        self.replies = {number: known for number, known in self.replies.items() if known[0] <= seq}

    @rule(sessions=st.booleans())
    def flush(self, sessions: bool) -> None:
        self.store.flush(sessions=sessions)

    @rule()
    def crash(self) -> None:
        self.store.crash()
        self.forget_from(self.store.position)
        self.doubt, self.told_time = self.store.position, 0
        self.expire = Expire()

    @rule(start=st.integers(0, 10**6), batch=st.integers(1, 9))
    def replay_on_top(self, start: int, batch: int) -> None:
        rows = records(self.store.engine)
        start %= len(self.store.journal) + 1
        assert records(self.store.replay(self.store.engine.copy(), start, batch=batch)) == rows
        partly = self.store.replay(MemoryEngine(), to=start, batch=batch)
        assert records(self.store.replay(partly, start)) == rows

    # -- reads --------------------------------------------------------------------------------------------------------

    def answer(self, request: Any, **hooks: Any) -> Any:
        try:
            return self.store.read(request, **hooks)
        except errors.RecollectdError as error:
            return type(error)

    @rule(where=ns, name=key, as_of=st.integers(0, 3 * SECOND) | st.none(), number=st.integers(1, 6))
    def read_state(self, where: Namespace, name: str, as_of: int | None, number: int) -> None:
        model, time = self.applied, self.store.view().time
        moment = time if as_of is None else max(0, time - as_of)
        assert self.answer(state.StateGet(where, name)) == views.get(model, (where, name), time)
        assert self.answer(state.StateGet(where, name, number)) == views.get_version(model, (where, name), number)
        assert self.answer(state.StateGet(where, name, None, moment)) == views.get_as_of(
            model, (where, name), moment, time
        )
        assert self.answer(state.StateHistory(where, name)) == views.history(model, (where, name))

    @rule(where=ns, limit=st.integers(1, 3), reverse=st.booleans())
    def walk(self, where: Namespace, limit: int, reverse: bool) -> None:
        found: list[Any] = []
        cursor = b""
        while not found or cursor:
            page = self.store.read(state.StateScan(where, reverse=reverse, limit=limit, cursor=cursor))
            found += page.records
            cursor = page.cursor
            if not page.records:
                break
        expected = views.scan(self.applied, where, self.store.view().time)
        assert found == (expected[::-1] if reverse else expected)

    @rule(where=ns)
    def read_the_rest(self, where: Namespace) -> None:
        model, time = self.applied, self.store.view().time
        assert self.store.read(state.StateCount(where)).count == len(views.living_names(model, where, time))
        assert self.store.read(state.StateCount(where)).valid_until == views.valid_until(model, where, time)
        for name in dict.fromkeys(KEYS):
            assert self.store.read(logs.LogRead(where, name)) == views.log_page(model, (where, name))
            expected = views.chat(model, (where, name)) or errors.NotFound
            assert self.answer(conversations.ConversationHistory(where, name)) == expected
        assert list(self.store.read(logs.LogList(where)).logs) == views.log_infos(model, where)
        listed = self.store.read(conversations.ConversationList(where)).conversations
        assert list(listed) == views.chats(model, where)
        assert set(self.store.read(connection.NamespaceList()).namespaces) == views.namespaces(model)

    @rule(where=ns, name=key, as_of=st.integers(0, 3 * SECOND), delay=st.integers(0, 3))
    def read_while_commits_are_applied(self, where: Namespace, name: str, as_of: int, delay: int) -> None:
        """A reader that is overtaken between its fetches sees the record as it was at one moment on the way."""
        time, found = self.store.view().time, (where, name)
        moment = max(0, time - as_of)
        reads: list[tuple[Any, Callable[[Model], Any]]] = [
            (state.StateGet(where, name), lambda model: views.get(model, found, time)),
            (state.StateGet(where, name, None, moment), lambda model: views.get_as_of(model, found, moment, time)),
            (logs.LogRead(where, name), lambda model: views.log_page(model, found)),
            (conversations.ConversationHistory(where, name), lambda model: views.chat(model, found) or errors.NotFound),
        ]
        for request, expected in reads:
            first, view = self.store.position, self.store.view()
            view.time = time
            before = lambda step: self.store.apply(int(bool(self.store.waiting) and step >= delay))  # noqa: E731
            seen = self.answer(request, view=view, before=before)
            assert seen in [expected(model) for model in self.models[first : self.store.position + 1]]

    @rule(back=st.integers(0, 30))
    def retry(self, back: int) -> None:
        """A write that is applied is answered again from the session, wherever its connection ended."""
        number = self.number - back
        known = self.replies.get(number)
        if known is not None and known[0] <= self.store.position and back < 20:
            outcome = self.store.sessions.outcome(SESSION, number, number)
            assert outcome is not None
            assert (outcome.seq, outcome.reply) == known

    @invariant()
    def the_numbers_agree(self) -> None:
        assert len(self.models) == self.last.seq + 1 == self.store.sequencer.last_seq + 1
        assert self.store.facts.pending_count <= 10 * sum(len(each.changed) for each in self.store.waiting)
        assert bool(self.store.facts.pending_count) <= bool(self.store.waiting)

    def teardown(self) -> None:
        if not hasattr(self, "store") or len(self.models) != self.store.sequencer.last_seq + 1:
            return  # it has failed already
        self.store.apply()
        self.store.check_replay()
        for where in dict.fromkeys(NAMESPACES):
            self.read_the_rest(where)
            for name in dict.fromkeys(KEYS):
                self.read_state(where, name, None, 1)


def run(examples: int, steps_max: int) -> None:
    checks = settings(max_examples=examples, stateful_step_count=steps_max, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Comparison, settings=checks)


def test_a_store_keeps_its_promises() -> None:
    run(60, 40)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_a_store_keeps_its_promises_for_long() -> None:
    run(3_000, 120)
