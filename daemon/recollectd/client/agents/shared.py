"""What an agent keeps for itself, its team or everybody."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from msgspec import Struct

from recollectd.client.arguments import name
from recollectd.client.blocking.client import Client
from recollectd.client.calls import Blocking
from recollectd.client.kinds.state import State
from recollectd.client.results import Record
from recollectd.protocol import errors, limits


class Level(Enum):
    """Who a record is for."""

    PRIVATE = "private"
    TEAM = "team"
    PUBLIC = "public"


class SharedRecord(Struct, frozen=True):
    """A record and the level it was found at."""

    key: str
    value: Any
    level: str
    version: int
    updated_at: str


class SharedMemory:
    """The memory of one agent of a team, in three namespaces below the client's.

        private   shared, private, <agent_id>
        team      shared, team, <team_id>
        public    shared, public

    A level is a namespace, so that who may read and write it is decided by the daemon's grants by namespace, for the
    identity of the connection. A daemon without access control keeps the levels apart and keeps nobody out of them:
    whoever may open its socket may open every namespace.
    """

    def __init__(self, agent_id: str, team_id: str, *, client: Client) -> None:
        self.agent_id = name(agent_id, "agent_id", limits.LABEL_BYTES_MAX)
        self.team_id = name(team_id, "team_id", limits.LABEL_BYTES_MAX)
        base = (*client.namespace, "shared")
        self._states: dict[Level, State[Blocking]] = {
            Level.PRIVATE: client.with_namespace(*base, "private", agent_id).state,
            Level.TEAM: client.with_namespace(*base, "team", team_id).state,
            Level.PUBLIC: client.with_namespace(*base, "public").state,
        }

    def put(self, key: str, value: object, *, level: Level | str = Level.PRIVATE, if_version: int | None = None) -> int:
        """Write a record at a level and return its version. if_version: see `state.put`."""
        return self._state(level).put(key, value, if_version=if_version)

    def get(self, key: str, *, level: Level | str | None = None) -> SharedRecord | None:
        """Return a record of a level; without one, of the nearest that has it: private, team, public."""
        for one in Level if level is None else (_level(level),):
            record = self._states[one].get(key)
            if record is not None:
                return _shared(record, one)
        return None

    def delete(self, key: str, *, level: Level | str = Level.PRIVATE) -> bool:
        """Delete a record of one level; return whether there was one."""
        return self._state(level).delete(key)

    def scan(self, prefix: str = "", *, pattern: str = "", level: Level | str) -> Iterator[SharedRecord]:
        """Walk a level's records in the order of their keys' bytes."""
        found = _level(level)
        for record in self._states[found].scan(prefix, pattern=pattern):
            yield _shared(record, found)

    def _state(self, level: Level | str) -> State[Blocking]:
        return self._states[_level(level)]


def _level(level: Level | str) -> Level:
    try:
        return Level(level)
    except ValueError:
        raise errors.InvalidArgument(
            f"must be {', '.join(each.value for each in Level)}, not {level!r}", field="level"
        ) from None


def _shared(record: Record, level: Level) -> SharedRecord:
    return SharedRecord(record.key, record.value, level.value, record.version, record.updated_at)
