"""The one table of messages: which there are, which answer which, and their codecs.

Everything that must know all messages (dispatch, codecs, documentation, golden bytes) derives from REQUESTS.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Final, NamedTuple

import msgspec

from recollectd.protocol import errors
from recollectd.protocol import explain as explaining
from recollectd.protocol.messages import (
    connection,
    conversations,
    erasing,
    fields,
    logs,
    memories,
    search_settings,
    state,
    transactions,
    vector_spaces,
)


class RequestRow(NamedTuple):
    """One request and the replies it may get beside `ErrorReply`."""

    request: type[fields.Message]
    replies: tuple[type[fields.Reply], ...]


REQUESTS: Final[tuple[RequestRow, ...]] = (
    RequestRow(connection.Hello, (connection.Welcome,)),
    RequestRow(connection.Ping, (connection.Pong,)),
    RequestRow(connection.StatusRequest, (connection.Status,)),
    RequestRow(connection.NamespaceConfigure, (connection.Done,)),
    RequestRow(connection.NamespaceList, (connection.NamespacePage,)),
    RequestRow(state.StatePut, (state.StateStored,)),
    RequestRow(state.StateGet, (state.StateRecord, state.Absent)),
    RequestRow(state.StateDelete, (connection.Deleted,)),
    RequestRow(state.StateGetMany, (state.StateRecords,)),
    RequestRow(state.StateGetValues, (state.StateValues,)),
    RequestRow(state.StatePutMany, (state.StateStoredMany,)),
    RequestRow(state.StateHistory, (state.StateVersions,)),
    RequestRow(state.StateTouch, (state.StateTouched,)),
    RequestRow(state.StateScan, (state.StatePage,)),
    RequestRow(state.StateCount, (connection.Counted,)),
    RequestRow(state.StateDeletePrefix, (connection.Deleted,)),
    RequestRow(logs.LogAppend, (logs.LogAppended,)),
    RequestRow(logs.LogRead, (logs.LogPage,)),
    RequestRow(logs.LogPopLast, (logs.LogPage,)),
    RequestRow(logs.LogTruncate, (logs.LogInfo,)),
    RequestRow(logs.LogCopy, (logs.LogInfo,)),
    RequestRow(logs.LogDelete, (connection.Deleted,)),
    RequestRow(logs.LogHead, (logs.LogInfo, state.Absent)),
    RequestRow(logs.LogList, (logs.LogInfos,)),
    RequestRow(conversations.ConversationCreate, (conversations.ConversationCreated,)),
    RequestRow(conversations.ConversationAppend, (conversations.MessagesStored,)),
    RequestRow(conversations.ConversationHistory, (conversations.History,)),
    RequestRow(conversations.ConversationList, (conversations.ConversationPage,)),
    RequestRow(conversations.ConversationHead, (conversations.ConversationInfo, state.Absent)),
    RequestRow(conversations.ConversationDelete, (connection.Deleted,)),
    RequestRow(conversations.ConversationVectors, (conversations.MessageVectors,)),
    RequestRow(memories.MemoryAdd, (memories.MemoriesStored,)),
    RequestRow(memories.MemoryReplace, (memories.MemoriesStored,)),
    RequestRow(memories.MemoryGet, (memories.Memories,)),
    RequestRow(memories.MemoryForget, (memories.MemoryMarked,)),
    RequestRow(memories.MemorySupersede, (memories.MemoryMarked,)),
    RequestRow(memories.MemoryDelete, (connection.Deleted,)),
    RequestRow(memories.MemoryList, (memories.MemoryPage,)),
    RequestRow(memories.MemoryCount, (connection.Counted,)),
    RequestRow(memories.MemoryHistory, (memories.MemoryVersions,)),
    RequestRow(memories.MemorySearch, (memories.MemoryResults, memories.MemoryRanks)),
    RequestRow(memories.MemoryContext, (memories.ContextText,)),
    RequestRow(search_settings.SearchConfigure, (search_settings.SearchSettings,)),
    RequestRow(search_settings.SearchSettingsGet, (search_settings.SearchSettings,)),
    RequestRow(vector_spaces.SpaceCreate, (connection.Done,)),
    RequestRow(vector_spaces.SpaceList, (vector_spaces.Spaces,)),
    RequestRow(vector_spaces.SpaceDrop, (connection.Deleted,)),
    RequestRow(vector_spaces.SpaceAlias, (connection.Done,)),
    RequestRow(vector_spaces.SpaceEmbed, (vector_spaces.Embedded,)),
    RequestRow(vector_spaces.SpaceSwitch, (vector_spaces.Switched,)),
    RequestRow(vector_spaces.SpaceEmbedMessages, (vector_spaces.Embedded,)),
    RequestRow(vector_spaces.SpaceLacking, (vector_spaces.LackingMessages,)),
    RequestRow(erasing.Erase, (erasing.ErasureState,)),
    RequestRow(transactions.Transaction, (transactions.Results,)),
    RequestRow(transactions.Batch, (transactions.Results,)),
    RequestRow(transactions.Watch, (transactions.Watching, transactions.Changes)),
    RequestRow(transactions.Unwatch, (connection.Done,)),
)

REQUEST_TYPES: Final[tuple[type[fields.Message], ...]] = tuple(row.request for row in REQUESTS)
REPLY_TYPES: Final[tuple[type[fields.Reply], ...]] = tuple(
    dict.fromkeys((*(reply for row in REQUESTS for reply in row.replies), connection.ErrorReply))
)


def tag_of(message: type[msgspec.Struct]) -> int:
    """Return the tag a message begins with."""
    tag = message.__struct_config__.tag
    assert isinstance(tag, int)
    return tag


REQUEST_BY_TAG: Final[dict[int, type[fields.Message]]] = {tag_of(request): request for request in REQUEST_TYPES}
assert len(REQUEST_BY_TAG) == len(REQUEST_TYPES), "two requests share a tag"
assert len({tag_of(reply) for reply in REPLY_TYPES}) == len(REPLY_TYPES), "two replies share a tag"

_ENCODER: Final = msgspec.msgpack.Encoder()
_REQUESTS: Final[msgspec.msgpack.Decoder[fields.Message]] = msgspec.msgpack.Decoder(reduce(or_, REQUEST_TYPES))
_REPLIES: Final[msgspec.msgpack.Decoder[fields.Reply]] = msgspec.msgpack.Decoder(reduce(or_, REPLY_TYPES))

encode = _ENCODER.encode


def decode_reply(body: bytes | memoryview) -> fields.Reply:
    """Return the reply in a frame's message part. Raises msgspec.DecodeError for what is no reply."""
    return _REPLIES.decode(body)


def decode_request(body: bytes | memoryview) -> fields.Message:
    """Return the request in a frame's message part.

    Raises UnknownMessage, or InvalidMessage or InvalidArgument, which name the field at fault.
    """
    try:
        return _REQUESTS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise explain(body, error) from None


def explain(body: bytes | memoryview, error: Exception) -> errors.RecollectdError:
    """Return the error to answer for a request that could not be decoded, naming the field by the table."""
    return explaining.explain(body, error, REQUEST_BY_TAG)
