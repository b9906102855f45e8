"""How much a read holds in memory at once, beside the page it makes."""

from __future__ import annotations

from typing import Final

from recollectd.protocol import limits

# Rows are fetched in steps; what one step brings is within this, or is a single row.
HELD_BYTES_MAX: Final = 2 * limits.PAGE_BYTES_MAX


def rows_at_once(largest_bytes: int, rows_max: int) -> int:
    """Return how many rows of at most so many bytes a step may fetch: 1 to rows_max."""
    return max(1, min(rows_max, HELD_BYTES_MAX // max(1, largest_bytes)))
