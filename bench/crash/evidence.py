"""What can be checked of answers before or beside the model: their order, and what reads saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from bench.crash import log_model
from bench.crash.model import Model, Played, time_in
from bench.crash.records import Conversation, Key, Log, Memory, Record, State
from bench.crash.sessions import Issue, Observation
from recollectd.protocol.limits import TIME_US_MAX
from recollectd.protocol.messages import (
    conversations,
    logs,
    memories,
    search_settings,
    state,
    transactions,
    vector_spaces,
)
from recollectd.protocol.messages.fields import Kind, Message, Reply


def in_order(evidence: Sequence[Issue]) -> Iterator[tuple[Played, int]]:
    """Yield what was answered in the journal's order, each with the time of the next commit whose time is known."""
    played = sorted(
        (
            Played(issue.answer.position, issue.message, issue.answer.decode(), repr(issue))
            for issue in evidence
            if issue.answer
        ),
        key=lambda each: each.seq,
    )
    times_max: list[int] = []
    latest = TIME_US_MAX
    for each in reversed(played):
        times_max.append(latest)
        time = time_in(each.message, each.reply, each.seq)
        latest = latest if time is None else time
    return zip(played, reversed(times_max), strict=True)


def check_order(evidence: Sequence[Issue]) -> list[str]:
    """Return what breaks the order of a connection's writes to one record, among those sent once."""
    lanes: dict[tuple[int, Key], list[Issue]] = defaultdict(list)
    for issue in evidence:
        if issue.sent == 1:
            for key in {*keys_of(issue.message)}:
                lanes[issue.lane, key].append(issue)
    trouble: list[str] = []
    for (_, key), issues in lanes.items():
        issues.sort(key=lambda issue: issue.order)
        for earlier, later in pairwise(issues):
            if earlier.answer and later.answer and earlier.answer.position > later.answer.position:
                trouble.append(f"{later} overtook {earlier} on one connection at {key}")
    return trouble


def keys_of(message: Message) -> Iterator[Key]:
    """Yield the records a write names."""
    match message:
        case state.StatePut() | state.StateDelete() | state.StateTouch():
            yield (int(Kind.STATE), message.namespace, message.key)
        case state.StatePutMany():
            for item in message.items:
                yield (int(Kind.STATE), message.namespace, item.key)
        case logs.LogAppend() | logs.LogPopLast() | logs.LogTruncate() | logs.LogDelete():
            yield (int(Kind.LOG), message.namespace, message.log_id)
        case logs.LogCopy():
            yield (int(Kind.LOG), message.namespace, message.log_id)
            yield (int(Kind.LOG), message.target_namespace, message.target_id)
        case conversations.ConversationAppend() | conversations.ConversationDelete():
            yield (int(Kind.CONVERSATION), message.namespace, message.conversation_id)
        case conversations.ConversationCreate(conversation_id=str(name)):
            yield (int(Kind.CONVERSATION), message.namespace, name)
        case memories.MemoryAdd():
            yield from (
                (int(Kind.MEMORY), message.namespace, new.memory_id) for new in message.memories if new.memory_id
            )
        case memories.MemoryReplace():
            yield (int(Kind.MEMORY), message.namespace, message.memory.memory_id or "")
        case memories.MemoryForget() | memories.MemoryDelete():
            yield (int(Kind.MEMORY), message.namespace, message.memory_id)
        case memories.MemorySupersede():
            yield (int(Kind.MEMORY), message.namespace, message.memory_id)
            yield (int(Kind.MEMORY), message.namespace, message.superseded_by)
        case vector_spaces.SpaceEmbed():
            yield from ((int(Kind.MEMORY), message.namespace, vector.memory_id) for vector in message.vectors)
        case vector_spaces.SpaceEmbedMessages():
            yield from (
                (int(Kind.CONVERSATION), message.namespace, vector.conversation_id) for vector in message.vectors
            )
        case vector_spaces.SpaceAlias() | vector_spaces.SpaceSwitch():
            yield (int(Kind.VECTOR_SPACE), message.namespace, message.name)
            yield (int(Kind.VECTOR_SPACE), message.namespace, message.alias_of)
        case search_settings.SearchConfigure():
            yield (int(Kind.SEARCH_SETTINGS), message.namespace, "")
        case vector_spaces.SpaceCreate() | vector_spaces.SpaceDrop():
            yield (int(Kind.VECTOR_SPACE), message.namespace, message.name)
        case transactions.Transaction() | transactions.Batch():
            for operation in message.operations:
                yield from keys_of(operation)


def check_observations(model: Model, observations: Sequence[Observation]) -> list[str]:
    """Return which reads saw what never was, or what was outdated when they were sent.

    The model's timeline must reach back to the last call; what was there before counts as seen at any position.
    """
    trouble: list[str] = []
    for request, lower, reply in observations:
        key = _key_read(request)
        if key is None:
            continue
        timeline = model.timeline.get(key, [])
        current = [seq for seq, _ in timeline if seq <= lower]
        visible = [record for seq, record in timeline if seq >= (current[-1] if current else 0)]
        if current and not any(_shows(record, reply) for record in visible):
            trouble.append(f"{request} sent after {lower} saw {reply!r:.300}, possible were {visible!r:.900}")
        elif not current and _revision(reply) and not any(_shows(record, reply) for record in visible):
            # It saw what was there before the first change of this stretch: only too new would be wrong.
            first = timeline[0][0] if timeline else model.seq + 1
            if _revision(reply) >= first:
                trouble.append(f"{request} saw {reply!r:.300}, which no write made")
    return trouble


def _key_read(request: Message) -> Key | None:
    match request:
        case state.StateGet():
            return (int(Kind.STATE), request.namespace, request.key)
        case logs.LogHead():
            return (int(Kind.LOG), request.namespace, request.log_id)
        case conversations.ConversationHead():
            return (int(Kind.CONVERSATION), request.namespace, request.conversation_id)
        case memories.MemoryGet(memory_ids=(memory_id,)):
            return (int(Kind.MEMORY), request.namespace, memory_id)
    return None


def _revision(reply: Reply) -> int:
    if isinstance(reply, memories.Memories):
        return 0 if reply.memories[0] is None else reply.memories[0].revision
    return int(getattr(reply, "revision", 0))


def _shows(record: Record | None, reply: Reply) -> bool:
    """Return whether a reply is what a reader of this record would be told."""
    match record, reply:
        case None, state.Absent():
            return True
        case None | Memory(text=None), memories.Memories():
            return reply.memories[0] is None
        case Memory(), memories.Memories(memories=(memories.Memory() as seen,)):
            return (record.text, record.version, record.revision) == (seen.text, seen.version, seen.revision)
        case State(), state.Absent():
            return record.newest.value is None
        case State(), state.StateRecord():
            newest = record.newest
            return (newest.version, newest.value, newest.updated_at, record.expires_at, record.revision) == (
                reply.version,
                bytes(reply.value),
                reply.updated_at,
                reply.expires_at,
                reply.revision,
            )
        case Log(), logs.LogInfo():
            shown = log_model.info(reply.log_id, record)
            return (shown.first, shown.next, shown.revision) == (reply.first, reply.next, reply.revision)
        case Conversation(), conversations.ConversationInfo():
            return (len(record.items), record.revision) == (reply.total_messages, reply.revision)
    return False
