"""Small engines, and the types of the fixtures that open them and start programs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Final

from recollectd.storage.engine import Engine
from recollectd.storage.engine_options import EngineOptions
from recollectd.storage.keyspace import PUT, Family, Write

MIB: Final = 1024 * 1024
OPTIONS: Final = EngineOptions(block_cache_bytes=16 * MIB, memtable_bytes=4 * MIB)

Start = Callable[..., "subprocess.Popen[str]"]
OpenEngine = Callable[..., Engine]


def rows(count: int, family: Family = Family.HEADS, value: bytes = b"") -> list[Write]:
    """Return writes of keys 00000000, 00000001 and so on, all with this value or each with its own."""
    return [(PUT, family, b"%08d" % number, value or b"value %d" % number) for number in range(count)]
