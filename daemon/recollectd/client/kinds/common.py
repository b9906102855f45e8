"""What calls of several kinds share."""

from __future__ import annotations

from typing import Final

from recollectd.protocol.messages.connection import Deleted

WALK_PAGE_ITEMS: Final = 1_000
"""How many items a walk asks for at once: enough that the round trips do not show, not so many that one waits."""


def any_deleted(reply: Deleted) -> bool:
    """Tell whether a delete found something."""
    return reply.deleted > 0
