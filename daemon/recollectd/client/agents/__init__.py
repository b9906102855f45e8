"""What agents and teams of agents keep, ready made: everything here stands on the calls of `recollectd.client` alone.

    with Client() as client, PersistentBufferMemory("assistant-7", client=client) as memory:
        memory.add_message("user", "Hello")

`PersistentBufferMemory` is an agent's conversation with a buffer before it, `SwarmMemory` the decisions of a swarm,
`SharedMemory` what an agent keeps for itself, its team or everybody, `AgentState` typed state; `UnitOfWork` and
`Repository` are for programs that are built of those.
"""

from recollectd.client.agents.buffer import PersistentBufferMemory
from recollectd.client.agents.repository import Repository
from recollectd.client.agents.shared import Level, SharedMemory, SharedRecord
from recollectd.client.agents.states import AgentState
from recollectd.client.agents.swarm import Decision, SwarmMemory
from recollectd.client.agents.work import UnitOfWork

__all__ = [
    "AgentState",
    "Decision",
    "Level",
    "PersistentBufferMemory",
    "Repository",
    "SharedMemory",
    "SharedRecord",
    "SwarmMemory",
    "UnitOfWork",
]
