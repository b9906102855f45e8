"""Messages about vector spaces, and vectors given to memories later. Tags 112-127 (requests), 112-127 (replies)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from recollectd.protocol import limits
from recollectd.protocol.messages.fields import (
    ConversationId,
    Cursor,
    Namespace,
    PageLimit,
    Part,
    Position,
    Reply,
    Request,
    Time,
    Write,
)
from recollectd.protocol.messages.memories import ChangedSince, MemoryId, SpaceName

Metric = Annotated[str, Meta(description="`cosine`, `dot` (inner product) or `l2`")]
Precision = Annotated[str, Meta(description="how the index keeps components: `f32`, `bf16` or `i8`")]
Dimensions = Annotated[int, Meta(ge=1, le=limits.VECTOR_DIMENSIONS_MAX, description="components of each vector")]


class SpaceCreate(Write, frozen=True, tag=112):
    """Creates a vector space in a namespace. Answered by `Done`; a known name is `ALREADY_EXISTS`."""

    namespace: Namespace
    name: SpaceName
    dimensions: Dimensions
    metric: Metric = "cosine"
    precision: Precision = "i8"
    model: Annotated[str, Meta(description="what made the vectors, for people")] = ""


class SpaceList(Request, frozen=True, tag=113):
    """Asks for the vector spaces of a namespace. Answered by `Spaces`."""

    namespace: Namespace


class Space(Part, frozen=True):
    """One vector space, or an alias of one."""

    name: SpaceName
    dimensions: Dimensions
    metric: Metric
    precision: Precision
    model: Annotated[str, Meta(description="what made the vectors")]
    created_at: Time
    alias_of: Annotated[str, Meta(description="the space it stands for; empty where it is one itself")] = ""


class Spaces(Reply, frozen=True, tag=113):
    """Answers `SpaceList`, in the order of names."""

    spaces: Annotated[tuple[Space, ...], Meta(description="spaces and aliases")]


class SpaceDrop(Write, frozen=True, tag=114):
    """Drops a vector space with its vectors, or an alias. Answered by `Deleted`.

    `INVALID_ARGUMENT` for a space that the same transaction or batch has created.
    """

    namespace: Namespace
    name: SpaceName


class SpaceAlias(Write, frozen=True, tag=115):
    """Lets a name stand for a space from now on; it may have stood for another one before. Answered by `Done`."""

    namespace: Namespace
    name: SpaceName
    alias_of: SpaceName


class MemoryVector(Part, frozen=True):
    """The vector of a memory's text."""

    memory_id: MemoryId
    version: Annotated[int, Meta(ge=1, description="of the memory whose text it was made from")]
    components: Annotated[bytes, Meta(description="little-endian float32")]


class SpaceEmbed(Write, frozen=True, tag=116):
    """Gives memories a vector in one space, without a new version. Answered by `Embedded`.

    A memory that is gone, or has moved on from the version named, is left alone; so this may be sent again. Other
    spaces' vectors stay. `NOT_FOUND` if there is no such space.
    """

    namespace: Namespace
    space: SpaceName
    vectors: Annotated[tuple[MemoryVector, ...], Meta(description=f"1 to {limits.EMBEDDED_MAX}")]


class Embedded(Reply, frozen=True, tag=116):
    """Answers `SpaceEmbed`."""

    embedded: Annotated[tuple[bool, ...], Meta(description="of each memory sent, whether it has the vector now")]


class SpaceSwitch(Write, frozen=True, tag=117):
    """Lets a name stand for a space if memories and space are as they were. Answered by `Switched`.

    For who has seen, as of a position, that every memory has a vector there: then no search ever misses one.
    """

    namespace: Namespace
    name: SpaceName
    alias_of: SpaceName
    position: Annotated[
        int, Meta(ge=0, description="behind which no memory may have changed, and the space not been made")
    ]
    messages: Annotated[
        bool, Meta(description="nor any conversation, if messages are searched, nor whether they are")
    ] = False


class Switched(Reply, frozen=True, tag=117):
    """Answers `SpaceSwitch`."""

    switched: Annotated[bool, Meta(description="false: a memory has changed, look again")]


Incarnation = Annotated[int, Meta(ge=1, description="the commit that created the conversation")]


class MessageVector(Part, frozen=True):
    """The vector of a message's content."""

    conversation_id: ConversationId
    incarnation: Incarnation
    position: Position
    components: Annotated[bytes, Meta(description="little-endian float32")]


class SpaceEmbedMessages(Write, frozen=True, tag=118):
    """Gives messages of conversations a vector in one space. Answered by `Embedded`.

    A message of a conversation that is gone, or was made anew since, is left alone; so this may be sent again. Other
    spaces' vectors stay. `NOT_FOUND` if there is no such space.
    """

    namespace: Namespace
    space: SpaceName
    vectors: Annotated[tuple[MessageVector, ...], Meta(description=f"1 to {limits.EMBEDDED_MAX}")]


class SpaceLacking(Request, frozen=True, tag=119):
    """Walks messages that have no vector in a space, where messages are searched. Answered by `LackingMessages`.

    A page may be empty and still have a cursor: the walk looks at a bounded number of messages a step.
    """

    namespace: Namespace
    space: SpaceName
    limit: PageLimit = limits.PAGE_ITEMS_DEFAULT
    cursor: Cursor = b""
    changed_since: ChangedSince = 0
    counted: Annotated[bool, Meta(description="only say how many there are")] = False


class LackingMessage(Part, frozen=True):
    """One message without a vector in the space."""

    conversation_id: ConversationId
    incarnation: Incarnation
    position: Position
    content: Annotated[str, Meta(description="what was said")]


class LackingMessages(Reply, frozen=True, tag=118):
    """Answers `SpaceLacking`."""

    messages: Annotated[tuple[LackingMessage, ...], Meta(description="by conversation, in the order of positions")]
    cursor: Cursor
    count: Annotated[int, Meta(ge=0, description="how many were found in this step")]
