"""A namespace moved into another vector space while nothing else is written, as a client does it in steps."""

from __future__ import annotations

from typing import Final

from bench.crash.memory_workload import ALIAS, SPACES
from bench.crash.sessions import Crowd, Session
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import memories, vector_spaces
from recollectd.protocol.messages.fields import Write

Namespace = tuple[str, ...]
_LOOKS_MAX: Final = 5


async def move(crowd: Crowd, session: Session, namespace: Namespace) -> None:
    """Give every memory a vector in a space, let the alias stand for it, sometimes drop the other space.

    What is in the way (a name that is taken otherwise) is refused, which the model knows, too.
    """
    rng = session.workload.rng
    space, other = rng.sample((*SPACES,), 2)

    async def write(message: Write) -> None:
        crowd.issue(session, message, sync=True)
        await crowd.settle()

    await write(vector_spaces.SpaceCreate(namespace, space, SPACES[space], precision="f32"))
    for _ in range(_LOOKS_MAX):
        request = memories.MemoryList(namespace, hidden=True, limit=limits.EMBEDDED_MAX, lacking=space)
        try:
            page = await session.connections[0].call(request, after=session.position)
        except errors.NotFound:
            return
        assert isinstance(page, memories.MemoryPage)
        if not page.memories:
            await write(vector_spaces.SpaceSwitch(namespace, ALIAS, space, page.position))
            break
        vector = session.workload.memories.vector(space)
        given = [vector_spaces.MemoryVector(each.memory_id, each.version, vector) for each in page.memories]
        await write(vector_spaces.SpaceEmbed(namespace, space, tuple(given)))
    if rng.random() < 0.5:
        await write(vector_spaces.SpaceDrop(namespace, other))
