"""The state of one agent, checked against a type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

from recollectd.client.agents.typed import Typed
from recollectd.client.arguments import name
from recollectd.client.blocking.client import Client
from recollectd.protocol import errors

T = TypeVar("T")

_ATTEMPTS = 10


class Saved(Struct, Generic[T], frozen=True):
    """A state as it was saved, with the version that `if_version` takes."""

    value: T
    version: int
    updated_at: str


class AgentState(Generic[T]):
    """One agent's state under `agent:<agent_id>`, of a type that msgspec or pydantic checks on save and on get.

    state = AgentState("assistant-7", Profile, client=client)
    """

    def __init__(self, agent_id: str, type: type[T], *, client: Client) -> None:
        self.agent_id = name(agent_id, "agent_id")
        self._key = name(f"agent:{agent_id}", "agent_id")
        self._typed = Typed(type)
        self._state = client.state

    def save(self, value: T, *, if_version: int | None = None, ttl: float | None = None) -> int:
        """Store the state and return its version.

        if_version: only if it is at this version (0: absent), else VersionConflict; ttl: seconds. Raises
        InvalidArgument naming the field of the value that does not fit the type.
        """
        return self._state.put(self._key, self._typed.plain(value), if_version=if_version, ttl=ttl)

    def get(self) -> T | None:
        """Return the state, None where there is none. Raises InvalidArgument when it does not fit the type."""
        saved = self.saved()
        return None if saved is None else saved.value

    def saved(self) -> Saved[T] | None:
        """Return the state with its version, None where there is none."""
        record = self._state.get(self._key)
        return None if record is None else Saved(self._typed.typed(record.value), record.version, record.updated_at)

    def update(self, change: Callable[[T | None], T]) -> T:
        """Replace the state by what a function makes of it; it is called again when somebody saved meanwhile.

        Raises VersionConflict when that happened ten times in a row.
        """
        conflict: errors.VersionConflict | None = None
        for _ in range(_ATTEMPTS):
            saved = self.saved()
            value = change(None if saved is None else saved.value)
            try:
                self.save(value, if_version=0 if saved is None else saved.version)
                return value
            except errors.VersionConflict as error:
                conflict = error
        assert conflict is not None
        raise conflict

    def delete(self) -> bool:
        """Delete the state; return whether there was one."""
        return self._state.delete(self._key)
