"""What reads must answer by the model, and what the daemon's own sweeps do to it."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from memory.model import DAY, Change, Model, Name, Namespace, Policies, Version, log_info
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import connection, conversations, logs, state


def get(model: Model, name: Name, time: int) -> Any:
    """Answer a read of now."""
    record = model.states.get(name)
    if record is None or not record.alive(time):
        return state.Absent()
    return _record(model, name, record.newest)


def _record(model: Model, name: Name, number: int) -> Any:
    record = model.states[name]
    version = record.versions[number]
    if version.value is None:
        return state.Absent()
    expires_at = record.expires_at if number == record.newest else version.expires_at
    return state.StateRecord(
        name[1], version.value, number, version.created_at, version.updated_at, expires_at, record.revision
    )


def get_version(model: Model, name: Name, number: int) -> Any:
    """Answer a read of a version; the class of the error where it is pruned."""
    record = model.states.get(name)
    if record is None or number > record.newest:
        return state.Absent()
    if number not in record.versions:
        return errors.HistoryPruned
    return _record(model, name, number)


def get_as_of(model: Model, name: Name, as_of: int, time: int) -> Any:
    """Answer a read as of a time."""
    record = model.states.get(name)
    if record is None:
        return state.Absent()
    then = [number for number, version in record.versions.items() if version.updated_at <= as_of]
    if not then:
        return errors.HistoryPruned if min(record.versions) > 1 else state.Absent()
    if max(then) == record.newest and not record.alive(min(as_of, time)):
        return state.Absent()
    return _record(model, name, max(then))


def history(model: Model, name: Name) -> Any:
    """Answer a read of all versions."""
    record = model.states.get(name)
    if record is None:
        return state.StateVersions((), 0, 0)

    def shown(number: int, version: Version) -> state.StateVersion:
        return state.StateVersion(
            number, version.value, version.updated_at, version.expires_at, deleted=version.value is None
        )

    versions = tuple(shown(number, record.versions[number]) for number in sorted(record.versions, reverse=True))
    return state.StateVersions(versions, 0, min(record.versions))


def living_names(model: Model, ns: Namespace, time: int) -> list[Name]:
    """Return the names of the records that are there, in order of their keys' bytes."""
    found = [name for name, record in model.states.items() if name[0] == ns and record.alive(time)]
    return sorted(found, key=lambda name: name[1].encode())


def scan(model: Model, ns: Namespace, time: int) -> list[Any]:
    """Answer a whole scan."""
    return [get(model, name, time) for name in living_names(model, ns, time)]


def valid_until(model: Model, ns: Namespace, time: int) -> int:
    """Return the earliest expiry among what a scan shows."""
    expiries = (model.states[name].expires_at for name in living_names(model, ns, time))
    return min((each for each in expiries if each is not None), default=limits.TIME_US_MAX)


def log_page(model: Model, name: Name) -> logs.LogPage:
    """Answer a read of a whole log."""
    log = model.logs.get(name)
    if log is None:
        return logs.LogPage((), 0, 0, 0)
    assert list(log.items) == list(range(log.first, log.next))
    items = tuple(logs.LogItem(position, *item) for position, item in log.items.items())
    return logs.LogPage(items, log.first, log.next, log.revision)


def log_infos(model: Model, ns: Namespace) -> list[logs.LogInfo]:
    """Answer a list of logs."""
    names = sorted((name for name in model.logs if name[0] == ns), key=lambda name: name[1].encode())
    return [log_info(name, model.logs[name]) for name in names]


def chat(model: Model, name: Name) -> conversations.History | None:
    """Answer a read of a whole conversation; None where there is none."""
    found = model.conversations.get(name)
    if found is None:
        return None
    return conversations.History(name[1], tuple(found.messages), len(found.messages), found.revision)


def chats(model: Model, ns: Namespace) -> list[conversations.ConversationInfo]:
    """Answer a list of conversations: by the second of last use, the latest first, then by id."""
    found = [(name, each) for name, each in model.conversations.items() if name[0] == ns]
    found.sort(key=lambda item: (-(item[1].updated_at // 1_000_000), item[0][1].encode()))
    return [
        conversations.ConversationInfo(
            name[1], each.created_at, each.updated_at, len(each.messages), each.metadata, each.revision
        )
        for name, each in found
    ]


def namespaces(model: Model) -> set[Namespace]:
    """Answer a list of namespaces; a deleted record's is among them until it is purged."""
    return {name[0] for name in (*model.states, *model.logs, *model.conversations)}


# -- sweeps ---------------------------------------------------------------------------------------------------------


def _following(model: Model, time: int) -> Model:
    following = deepcopy(model)
    following.seq, following.time = model.seq + 1, max(model.time, time)
    return following


def due(model: Model, time: int) -> bool:
    """Return whether an expiry has come that is no version yet."""
    return any(each.expires_at is not None and each.expires_at <= time for each in model.states.values())


def expired(model: Model, time: int, policies: Policies) -> Model:
    """Make every expiry that has come a version."""
    following = _following(model, time)
    change = Change(following, policies, iter(()))
    for name in following.states:
        change.settled(name)
    return following


def refreshed(model: Model, time: int, names: Iterable[Name]) -> Model:
    """Extend the lives of sliding records; nobody can tell but by their expiry."""
    following = _following(model, time)
    for name in names:
        record = following.states.get(name)
        if record is not None and record.alive(following.time) and record.sliding and record.ttl_us is not None:
            record.expires_at = following.time + record.ttl_us
    return following


def pruned(model: Model, time: int, policies: Policies) -> Model:
    """Drop what is older than its namespace keeps."""
    following = _following(model, time)
    for name, record in list(following.states.items()):
        _, age_us = policies.of(name[0])
        if not age_us:
            continue
        horizon = following.time - age_us
        for number in sorted(record.versions)[:-1]:
            if record.versions[number + 1].updated_at <= horizon:
                del record.versions[number]
        newest = record.versions[record.newest]
        if newest.value is None and newest.updated_at <= following.time - max(age_us, DAY):
            del following.states[name]
    return following


def done(found: Any) -> bool:
    """Return whether a reply says that nothing is left to do."""
    return not isinstance(found, connection.Deleted) or found.done
