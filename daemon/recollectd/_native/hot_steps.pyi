"""The rows of commits that are applied in one step: by record, each record's head once."""

from collections import deque
from typing import Any

def take_rows(to_apply: deque[Any], items: list[Any], rows: list[Any], rows_max: int) -> int:
    """Move writes of one record each from the front of `to_apply` to `items`, and add their rows; return how many.

    It ends at a write of another form, or with about rows_max rows. Rows come by record, not by commit: RocksDB finds
    the place of a row near that of the one before. Of the writes to a record the last alone brings the head.
    """
