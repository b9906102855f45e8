"""What the demo stores before the kill, and whether it is all still there afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from recollectd.client import Client, Transaction

AGENTS: Final = 200
CONVERSATION_ID: Final = "the-boat"
PLAN_KEY: Final = "plan/boat"
PLAN: Final = {"goal": "afloat by the 14th of June", "length_m": 10.4, "done": ["wet sacks", "chalk marks"]}
DECISION: Final = {"decided": "flexible sealant, no epoxy", "because": "epoxy does not move with the wood"}


class Turn(msgspec.Struct, frozen=True):
    """A message of the conversation that ships with the project."""

    role: str
    content: str


def conversation() -> list[Turn]:
    """Return the conversation that ships with the project."""
    text = resources.files(__package__).joinpath("conversation.jsonl").read_bytes()
    return [msgspec.json.decode(line, type=Turn) for line in text.splitlines()]


def agent_states() -> dict[str, Any]:
    """Return states of agents by key."""
    return {
        f"agent/{number:03d}": {"task": f"task {number}", "step": number % 7, "notes": ["checked"] * (number % 5)}
        for number in range(AGENTS)
    }


def store(client: Client) -> None:
    """Store states, a conversation, and a transaction over several kinds."""
    client.state.put_many(agent_states())
    client.conversations.create(CONVERSATION_ID)
    for turn in conversation():
        client.conversations.append(CONVERSATION_ID, turn.role, turn.content)

    def decide(transaction: Transaction) -> None:
        transaction.state.put(PLAN_KEY, PLAN)
        transaction.logs.append("decisions", [DECISION])
        transaction.conversations.append(CONVERSATION_ID, "assistant", "I have noted the plan.")

    client.transact(decide)


def contents(client: Client, conversation_id: str) -> list[str]:
    """Return what a conversation's messages say; nothing where there is no such conversation."""
    if client.conversations.info(conversation_id) is None:
        return []
    return [message.content for message in client.conversations.iterate(conversation_id)]


def missing(client: Client) -> Iterator[str]:
    """Yield a sentence for everything stored by `store` that is not there as it was stored."""
    for key, value in {**agent_states(), PLAN_KEY: PLAN}.items():
        record = client.state.get(key)
        if record is None or record.value != value:
            yield f"state {key} is {'missing' if record is None else 'changed'}"
    decisions = [item.value for item in client.logs.iterate("decisions")]
    if decisions != [DECISION]:
        yield f"the log of decisions holds {len(decisions)} items, not the one that was appended"
    expected = [*(turn.content for turn in conversation()), "I have noted the plan."]
    found = contents(client, CONVERSATION_ID)
    if found != expected:
        yield f"the conversation has {len(found)} messages, of {len(expected)}, or in another order"
