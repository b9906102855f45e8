"""What a workload learns from replies, for guards that hold."""

from __future__ import annotations

from bench.crash.hints import Hints
from recollectd.protocol.messages import conversations, logs, memories, state, vector_spaces
from recollectd.protocol.messages.connection import Deleted
from recollectd.protocol.messages.fields import Kind, Message, Reply


def observe(hints: Hints, request: Message, reply: Reply, position: int) -> None:
    """Remember versions, revisions, positions, ids and cursors that a reply tells."""
    match request, reply:
        case state.StatePut(), state.StateStored():
            hints.versions[int(Kind.STATE), request.namespace, request.key] = reply.version
        case state.StateGet(), state.StateRecord():
            hints.versions[int(Kind.STATE), request.namespace, request.key] = reply.version
            hints.revisions[int(Kind.STATE), request.namespace, request.key] = reply.revision
        case state.StateGet(), state.Absent():
            hints.versions[int(Kind.STATE), request.namespace, request.key] = 0
            hints.revisions[int(Kind.STATE), request.namespace, request.key] = 0
        case state.StateScan(), state.StatePage():
            hints.ranges[int(Kind.STATE), request.namespace] = position
        case state.StateDeletePrefix(), Deleted():
            hints.solo_cursor[request.namespace] = reply.cursor
        case memories.MemoryList(lacking=space), memories.MemoryPage(cursor=b""):
            place = request.namespace, space
            hints.lacking[place] = tuple((each.memory_id, each.version) for each in reply.memories)
            if not reply.memories:
                hints.whole[place] = reply.position
        case vector_spaces.SpaceLacking(), vector_spaces.LackingMessages():
            hints.lacking_messages[request.namespace, request.space] = tuple(
                (each.conversation_id, each.incarnation, each.position) for each in reply.messages
            )
        case logs.LogHead(), logs.LogInfo():
            hints.nexts[int(Kind.LOG), request.namespace, request.log_id] = reply.next
            hints.revisions[int(Kind.LOG), request.namespace, request.log_id] = reply.revision
        case logs.LogAppend(), logs.LogAppended():
            hints.nexts[int(Kind.LOG), request.namespace, request.log_id] = reply.next
        case conversations.ConversationHead(), conversations.ConversationInfo():
            hints.revisions[int(Kind.CONVERSATION), request.namespace, request.conversation_id] = reply.revision
        case conversations.ConversationCreate(conversation_id=None), conversations.ConversationCreated():
            hints.conversations = [*hints.conversations[-20:], (request.namespace, reply.conversation_id)]
