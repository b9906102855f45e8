"""A namespace moved into another vector space while nothing else is written, as a client does it in steps."""

from __future__ import annotations

from typing import Final

from bench.crash.memory_workload import ALIAS, SPACES
from bench.crash.sessions import Crowd, Session
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories, vector_spaces
from recollectd.protocol.messages.fields import Reply, Request, Write

Namespace = tuple[str, ...]
_LOOKS_MAX: Final = 5
_LIMIT: Final = limits.EMBEDDED_MAX
_LIMIT_MESSAGES: Final = 5_000


async def move(crowd: Crowd, session: Session, namespace: Namespace) -> None:
    """Give every memory, and every message that is searched, a vector in a space, and let the alias stand for it.

    Sometimes the other space is dropped.

    What is in the way (a name that is taken otherwise) is refused, which the model knows, too.
    """
    rng = session.workload.rng
    space, other = rng.sample((*SPACES,), 2)

    async def write(message: Write) -> None:
        crowd.issue(session, message, sync=True)
        await crowd.settle()

    await write(vector_spaces.SpaceCreate(namespace, space, SPACES[space], precision="f32"))
    for _ in range(_LOOKS_MAX):
        try:
            page = await _look(session, memories.MemoryList(namespace, hidden=True, limit=_LIMIT, lacking=space))
            said = await _look(session, vector_spaces.SpaceLacking(namespace, space, limit=_LIMIT_MESSAGES))
        except errors.NotFound:
            return
        assert isinstance(page, memories.MemoryPage)
        assert isinstance(said, vector_spaces.LackingMessages)
        if not page.memories and not said.messages and not said.cursor:
            switch = vector_spaces.SpaceSwitch(namespace, ALIAS, space, page.position, messages=True)
            await write(switch)
            break
        vector = session.workload.memories.vector(space)
        given = [vector_spaces.MemoryVector(each.memory_id, each.version, vector) for each in page.memories]
        if given:
            await write(vector_spaces.SpaceEmbed(namespace, space, tuple(given)))
        for start in range(0, len(said.messages), _LIMIT):
            part = [
                vector_spaces.MessageVector(each.conversation_id, each.incarnation, each.position, vector)
                for each in said.messages[start : start + _LIMIT]
            ]
            await write(vector_spaces.SpaceEmbedMessages(namespace, space, tuple(part)))
    if rng.random() < 0.5:
        await write(vector_spaces.SpaceDrop(namespace, other))


async def _look(session: Session, request: Request) -> Reply:
    return await session.connections[0].call(request, after=session.position)
