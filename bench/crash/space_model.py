"""Vector spaces and settings of search in the model: each operation as the protocol's words have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from bench.crash.records import (
    Context,
    Conversation,
    Key,
    Memory,
    MessageVectors,
    Operations,
    Record,
    Refused,
    Settings,
    Space,
    Vector,
)
from recollectd.protocol import errors
from recollectd.protocol.messages import search_settings, vector_spaces
from recollectd.protocol.messages.connection import Deleted, Done
from recollectd.protocol.messages.fields import Kind

COMPONENT_BYTES: Final = 4
UNCONFIGURED: Final = Settings("english", True, True, False, False, 0)


def key_of(namespace: tuple[str, ...], name: str) -> Key:
    """Return the key of a space or alias."""
    return (int(Kind.VECTOR_SPACE), namespace, name)


def settings_key(namespace: tuple[str, ...]) -> Key:
    """Return the key of a namespace's settings."""
    return (int(Kind.SEARCH_SETTINGS), namespace, "")


def resolve(context: Context, namespace: tuple[str, ...], name: str, field: str) -> tuple[str, Space]:
    """Return a space's own name and the space, through an alias if need be."""
    space = cast(Space | None, context.get(key_of(namespace, name)))
    if space is not None and space.alias_of:
        name = space.alias_of
        space = cast(Space | None, context.get(key_of(namespace, name)))
    if space is None or space.alias_of:
        raise Refused(errors.NotFound, field)
    return name, space


def resolved(context: Context, namespace: tuple[str, ...], told: Mapping[str, bytes], field: str) -> dict[str, Vector]:
    """Return vectors by their spaces' own names."""
    found: dict[str, Vector] = {}
    for name, components in told.items():
        where = f"{field}[{name!r}]"
        space_name, space = resolve(context, namespace, name, where)
        if len(components) != COMPONENT_BYTES * space.dimensions or space_name in found:
            raise Refused(errors.InvalidArgument, where)
        found[space_name] = Vector(space.revision, components)
    return found


def spaces_of(records: Mapping[Key, Record], namespace: tuple[str, ...]) -> dict[str, Space]:
    """Return the spaces of a namespace, without aliases."""
    return {
        key[2]: space
        for key, space in records.items()
        if key[1] == namespace and isinstance(space, Space) and not space.alias_of
    }


def create(context: Context, message: vector_spaces.SpaceCreate, _: object) -> Done:
    """Create a vector space."""
    key = key_of(message.namespace, message.name)
    if context.get(key) is not None:
        raise Refused(errors.AlreadyExists, "name")
    context.put(key, Space(message.dimensions, context.stamp, context.seq))
    return Done()


def alias(context: Context, message: vector_spaces.SpaceAlias | vector_spaces.SpaceSwitch, _: object) -> Done:
    """Let a name stand for a space."""
    key = key_of(message.namespace, message.name)
    before = cast(Space | None, context.get(key))
    if before is not None and not before.alias_of:
        raise Refused(errors.AlreadyExists, "name")
    target = cast(Space | None, context.get(key_of(message.namespace, message.alias_of)))
    if target is None or target.alias_of:
        raise Refused(errors.NotFound, "alias_of")
    context.put(key, Space(0, context.stamp, context.seq, message.alias_of))
    return Done()


def switch(context: Context, message: vector_spaces.SpaceSwitch, reply: object) -> vector_spaces.Switched:
    """Let a name stand for a space if nothing has changed; it may be left for less, for the daemon knows roughly."""
    target = cast(Space | None, context.get(key_of(message.namespace, message.alias_of)))
    kinds = (Kind.MEMORY, *(_kinds_of_messages(context, message.namespace) if message.messages else ()))
    changed = any(context.changed_since(kind, message.namespace, message.position) for kind in kinds)
    younger = target is not None and target.revision > message.position
    if changed or younger or (isinstance(reply, vector_spaces.Switched) and not reply.switched):
        return vector_spaces.Switched(False)
    alias(context, message, None)
    # Who asks has seen, as of that position, that no memory lacked a vector there.
    for key in context.everything():
        memory = context.get(key)
        if key[1] == message.namespace and isinstance(memory, Memory) and memory.text is not None:
            vector = memory.vectors.get(message.alias_of)
            has = vector is not None and target is not None and vector.incarnation == target.revision
            assert has, f"{message} found {key} without a vector"
    if message.messages and _searches_messages(context, message.namespace) and target is not None:
        there = {key: record for key in context.everything() if (record := context.get(key)) is not None}
        without = lacking_messages(there, message.namespace, message.alias_of, target.revision)
        assert not without, f"{message} found messages of {without} without a vector"
    return vector_spaces.Switched(True)


def _searches_messages(context: Context, namespace: tuple[str, ...]) -> bool:
    settings = cast(Settings | None, context.get(settings_key(namespace)))
    return settings is not None and settings.messages


def _kinds_of_messages(context: Context, namespace: tuple[str, ...]) -> tuple[Kind, ...]:
    """Return the kinds of which nothing may have changed for messages' sake."""
    searched = _searches_messages(context, namespace)
    return (Kind.SEARCH_SETTINGS, *((Kind.CONVERSATION,) if searched else ()))


def message_vectors_key(namespace: tuple[str, ...], conversation_id: str) -> Key:
    """Return the key of the vectors of a conversation's messages."""
    return (int(Kind.MESSAGE_VECTORS), namespace, conversation_id)


def lacking_messages(
    records: Mapping[Key, Record], namespace: tuple[str, ...], name: str, incarnation: int
) -> list[Key]:
    """Return the conversations of a namespace of which some message has no vector in a space."""
    found: list[Key] = []
    for key, record in records.items():
        if key[1] == namespace and isinstance(record, Conversation):
            vectors = records.get(message_vectors_key(namespace, key[2]))
            there = vectors.by_position if isinstance(vectors, MessageVectors) else {}
            stored = (there.get(position, {}).get(name) for position in range(len(record.items)))
            if any(vector is None or vector.incarnation != incarnation for vector in stored):
                found.append(key)
    return found


def drop(context: Context, message: vector_spaces.SpaceDrop, _: object) -> Deleted:
    """Drop a space or an alias. What a commit itself has made it cannot drop."""
    key = key_of(message.namespace, message.name)
    space = cast(Space | None, context.get(key))
    if space is None:
        return Deleted(0)
    if not space.alias_of and space.revision == context.seq:
        raise Refused(errors.InvalidArgument, "name")
    context.put(key, None)
    return Deleted(1)


def configure(
    context: Context, message: search_settings.SearchConfigure, reply: object
) -> search_settings.SearchSettings:
    """Change how a namespace is searched."""
    key = settings_key(message.namespace)
    before = cast(Settings | None, context.get(key)) or UNCONFIGURED
    given = {
        name: value
        for name in ("language", "stemming", "stop_words", "messages", "accesses")
        if (value := getattr(message, name)) is not None
    }
    after = before._replace(**given)
    if after != before:
        context.put(key, after._replace(revision=context.seq, counted=before.counted or after.accesses))
    indexing = isinstance(reply, search_settings.SearchSettings) and reply.indexing
    return settings_told(after, indexing=indexing)


def settings_told(settings: Settings, *, indexing: bool = False) -> search_settings.SearchSettings:
    """Return what the daemon says of how a namespace is searched."""
    return search_settings.SearchSettings(*settings[:4], indexing, settings.accesses)


def counted(records: Mapping[Key, Record], namespace: tuple[str, ...]) -> bool:
    """Return whether it ever was counted in a namespace how often memories are found."""
    settings = records.get(settings_key(namespace))
    return isinstance(settings, Settings) and settings.counted


def told(name: str, space: Space) -> vector_spaces.Space:
    """Return what the daemon says of a space or alias."""
    metric, precision = ("", "") if space.alias_of else ("cosine", "f32")
    return vector_spaces.Space(
        name, max(1, space.dimensions), metric, precision, "", cast(int, space.created_at), space.alias_of
    )


OPERATIONS: Final[Operations] = {
    vector_spaces.SpaceCreate: create,
    vector_spaces.SpaceAlias: alias,
    vector_spaces.SpaceSwitch: switch,
    vector_spaces.SpaceDrop: drop,
    search_settings.SearchConfigure: configure,
}
