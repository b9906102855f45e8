"""Conversations, declared."""

from __future__ import annotations

from recollectd.memory.conversations import reads, writes
from recollectd.memory.conversations.caching import FOLLOWS
from recollectd.memory.conversations.events import EVENTS, ConversationHead
from recollectd.memory.kind import KindSpec
from recollectd.protocol.messages import conversations as messages
from recollectd.protocol.messages.fields import Kind

KIND = KindSpec(
    kind=Kind.CONVERSATION,
    head=ConversationHead,
    events=EVENTS,
    follows=FOLLOWS,
    writes={
        messages.ConversationCreate: writes.Create,
        messages.ConversationAppend: writes.Append,
        messages.ConversationDelete: writes.Delete,
    },
    reads={
        messages.ConversationHistory: reads.History,
        messages.ConversationHead: reads.ReadHead,
        messages.ConversationList: reads.ListConversations,
    },
)
