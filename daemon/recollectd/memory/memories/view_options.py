"""What the views over memories are opened with."""

from __future__ import annotations

from typing import Final, NamedTuple

from recollectd.storage.keywords.options import MIB
from recollectd.storage.vectors.options import VectorOptions


class ViewOptions(NamedTuple):
    """known_bytes_max: memory for memories that searches have read, and for what filters allow. erase_interval_s: how
    often what was deleted is erased from files unasked, 0: never. keyword_flush_bytes: memory of keywords from which on
    they are written to a segment. unsaved_changes_max: after so many changes the views are made durable unasked.
    vectors: of the vector view.
    """

    known_bytes_max: int = 128 * MIB
    erase_interval_s: int = 0
    keyword_flush_bytes: int = 64 * MIB
    unsaved_changes_max: int = 65_536
    vectors: VectorOptions = VectorOptions()  # frozen


DEFAULT_VIEW_OPTIONS: Final = ViewOptions()
