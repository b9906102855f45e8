"""What a keyword view is made with, what goes into it and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from recollectd.protocol import errors
from recollectd.storage.keywords.analysis import DEFAULT_ANALYSIS, Analysis

MIB: Final = 1024 * 1024
WEIGHT_MIN: Final = 1e-3
WEIGHT_MAX: Final = 1e3
QUERY_CHARS_MAX: Final = 100_000
LIMIT_MAX: Final = 100_000

# Of which namespace the key bytes are is the caller's knowledge.
AnalysisOf = Callable[[bytes], Analysis]


def default_analysis(scope: bytes) -> Analysis:
    """Every scope is analysed alike."""
    return DEFAULT_ANALYSIS


class KeywordOptions(NamedTuple):
    """fields: the names of a document's texts; analysis_of: how a scope's texts are analysed;
    delta_bytes_wanted: memory of the delta from which on it should be flushed; delta_bytes_max: from which on writes
    should be refused (BUSY) until a flush is done.
    """

    fields: tuple[str, ...] = ("own", "context")
    analysis_of: AnalysisOf = default_analysis
    delta_bytes_wanted: int = 64 * MIB
    delta_bytes_max: int = 256 * MIB


class Scoring(NamedTuple):
    """The parameters of BM25. k1: how soon more occurrences count no more; b: how much long texts are held back.

    The defaults are the usual ones (Robertson, Zaragoza 2009). That a short turn of a conversation says little is not
    for them to tell, but for the search that puts arms together.
    """

    k1: float = 1.2
    b: float = 0.75

    def check(self) -> Scoring:
        """Return itself; raises InvalidArgument."""
        if not 0 <= self.k1 <= 100:
            raise errors.InvalidArgument("k1 is 0 to 100", field="k1")
        if not 0 <= self.b <= 1:
            raise errors.InvalidArgument("b is 0 to 1", field="b")
        return self


DEFAULT_SCORING: Final = Scoring()


class Put(NamedTuple):
    """A document is there from now on, in place of what its id named before.

    texts: one for each field, None where it has none.
    """

    scope: bytes
    record_id: bytes
    texts: tuple[str | None, ...]


class Delete(NamedTuple):
    """A document is there no more; nothing happens if it was not."""

    scope: bytes
    record_id: bytes


Change = Put | Delete


class Hit(NamedTuple):
    """One document found."""

    record_id: bytes
    score: float


class Statistics(NamedTuple):
    """What there is. documents: live ones; dead_documents: still in segments; applied_seq: visible; durable_seq: in
    segments; delta_bytes: memory of what is not yet in segments; memory_bytes: all memory, the delta's too, without the
    mapped segments.
    """

    applied_seq: int
    durable_seq: int
    scopes: int
    documents: int
    dead_documents: int
    segments: int
    segment_bytes: int
    delta_documents: int
    delta_bytes: int
    memory_bytes: int
