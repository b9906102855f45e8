"""The options of a client, checked."""

from __future__ import annotations

import math

from recollectd.client.arguments import name as checked_name
from recollectd.client.arguments import whole
from recollectd.protocol import errors, limits


class Options:
    """A client's options; raises InvalidArgument naming the one at fault."""

    def __init__(self, timeout: float, durability: str, connections_max: int = 1, name: str = "") -> None:
        if not _is_duration(timeout):
            raise errors.InvalidArgument(f"must be a number of seconds above 0, not {timeout!r}", field="timeout")
        if durability not in ("sync", "async"):
            raise errors.InvalidArgument(f"must be 'sync' or 'async', not {durability!r}", field="durability")
        self.timeout = float(timeout)
        self.durable = durability == "sync"
        self.connections_max = whole(connections_max, "connections_max", least=1)
        self.name = name if name == "" else checked_name(name, "name", limits.CLIENT_NAME_BYTES_MAX)


def _is_duration(seconds: object) -> bool:
    return isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds < math.inf
