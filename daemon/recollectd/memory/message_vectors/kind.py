"""Vectors of messages, declared."""

from __future__ import annotations

from recollectd.memory.kind import KindSpec
from recollectd.memory.message_vectors import embedding, reads
from recollectd.memory.message_vectors.events import EVENTS, MessageVectorsHead
from recollectd.protocol.messages import conversations, vector_spaces
from recollectd.protocol.messages.fields import Kind

KIND = KindSpec(
    kind=Kind.MESSAGE_VECTORS,
    head=MessageVectorsHead,
    events=EVENTS,
    follows={},
    writes={vector_spaces.SpaceEmbedMessages: embedding.EmbedMessages},
    reads={
        conversations.ConversationVectors: reads.ReadVectors,
        vector_spaces.SpaceLacking: reads.Lacking,
    },
)
