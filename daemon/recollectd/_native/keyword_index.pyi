"""The keyword index: postings in memory and in mapped segments, scored natively; `storage/keywords` uses it."""

from typing import final

CHECKSUM_BLOCK_BYTES: int
"""A file's checksum is the XXH64 of each block of this size with the checksum before it as seed."""

@final
class SegmentMerge:
    """A merge on its way: begun, then written, then installed. Made by `KeywordIndex.merge_begin`."""

    @property
    def documents(self) -> int:
        """How many documents were written; 0: there is no new segment."""

    @property
    def seq(self) -> int:
        """What died up to this commit is left out."""

    @property
    def file_bytes(self) -> int:
        """The size of the file written."""

    @property
    def checksum(self) -> int:
        """The checksum of the file written."""

@final
class KeywordIndex:
    """One thread applies, one other thread freezes, writes and installs, any thread searches."""

    def __new__(cls, field_count: int) -> KeywordIndex:
        """field_count: 1 to 16, the same for all documents."""

    @property
    def field_count(self) -> int:
        """How many fields a document has."""

    def apply(self, seq: int, changes: list[tuple[bytes, bytes, tuple[bytes | None, ...] | None]]) -> None:
        """Apply a commit: (scope, id, packed fields) puts or replaces a document, None instead of fields removes it.

        A reader sees all of a commit or nothing. Raises ValueError for a field that is not packed by `TextAnalysis`: a
        defect, after which the index is of no more use; ValueError or TypeError for changes of another form.
        """

    def search(
        self,
        scope: bytes,
        terms: list[bytes],
        weights: list[tuple[int, float]],
        limit: int,
        k1: float,
        b: float,
        allowed: tuple[bytes, ...] | None = None,
        rare_share: float = 0.0,
    ) -> list[tuple[bytes, float]]:
        """Return the best documents with their scores; runs without the GIL.

        terms: distinct; weights: (field, weight > 0); allowed: the only ids that may be answered; rare_share: if not 0,
        only terms count that two documents or more have, but no larger share of all. Raises ValueError for a posting
        list that cannot be read.
        """

    def freeze(self) -> int:
        """Close the delta so that it can be merged into a segment; return the commit it is as of."""

    def merge_begin(self, segments: list[int], seq: int) -> SegmentMerge:
        """Begin to merge these segments, or what is frozen if there are none."""

    def merge_write(self, one: SegmentMerge, descriptor: int) -> None:
        """Write the merged segment. Raises OSError; ValueError if a segment merged cannot be read."""

    def merge_install(self, one: SegmentMerge, number: int, descriptor: int) -> None:
        """Put what was written in place of what was merged; the descriptor may be closed then."""

    def segment_open(self, number: int, descriptor: int, file_bytes: int, dead: bytes, seq: int) -> None:
        """Take a segment in before anybody searches; dead: as of `segment_dead`. Raises ValueError, OSError."""

    def segment_dead(self, number: int, seq: int) -> bytes:
        """Return the rows of a segment that died up to a commit: pairs of block and row, u32 each, in order."""

    def segment_size(self, number: int) -> tuple[int, int]:
        """Return how many documents a segment has, and how many of them are dead. Raises KeyError."""

    def documents(self, scope: bytes) -> int:
        """Return how many live documents a scope has."""

    @property
    def delta_bytes(self) -> int:
        """Memory of what is in no segment yet; cheap."""

    def totals(self) -> tuple[int, int, int, int, int, int, int]:
        """Return applied seq, scopes, documents, delta's documents and bytes, frozen parts, bytes of memory in all."""
