"""The files of the views over memories: damaged between two runs of the daemon, which must make them anew."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, Final

from bench.wire import AsyncConnection
from recollectd.protocol.messages.connection import Status, StatusRequest

FOLDERS: Final = ("keywords", "vectors")
MERGED_POLLS_MAX: Final = 100
MERGED_POLL_S: Final = 0.05


def damage(data: Path, rng: random.Random) -> str:
    """Flip a bit of a file of the views, cut it short or remove it; return what was done. Nothing runs meanwhile."""
    files = sorted(file for folder in FOLDERS for file in (data / folder).rglob("*") if file.is_file())
    if not files:
        return "not there yet"
    file = rng.choice(files)
    content = bytearray(file.read_bytes())
    how = rng.choice(("flipped", "flipped", "cut short", "removed")) if content else "removed"
    if how == "removed":
        file.unlink()
        return how
    if how == "flipped":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    else:
        del content[rng.randrange(len(content)) :]
    file.write_bytes(content)
    return how


async def merged(connection: AsyncConnection) -> None:
    """Wait until no vectors are merged, and what is due is."""
    for _ in range(MERGED_POLLS_MAX):
        figures = await _figures(connection)
        if not figures["vectors"]["merging_rows"] and not figures["waiting"]:
            return
        await asyncio.sleep(MERGED_POLL_S)


async def happened(connection: AsyncConnection) -> dict[str, int]:
    """Return how often the daemon, since its start, did what crashes should meet."""
    figures = await _figures(connection)
    return {
        "vectors": figures["vectors"]["vectors"],
        "vector merges": figures["vectors"]["merges"],
        "vectors dead in segments": figures["vectors"]["dead_rows"],
        "keyword segments": figures["keywords"]["segments"],
        "keyword documents dead in segments": figures["keywords"]["dead_documents"],
        "erasures": int(figures["erasing"]["erased_seq"] > 0),
    }


async def _figures(connection: AsyncConnection) -> dict[str, Any]:
    reply = await connection.call(StatusRequest())
    assert isinstance(reply, Status)
    figures: dict[str, Any] = reply.status["views"]["memories"]
    return figures
