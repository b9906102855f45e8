"""The keyword view: follows the journal, answers searches, keeps itself in segments.

Threads: `apply` is called in order by whoever applies commits (the event loop) and touches no file; `search` and
`highlights` by any number of threads; `flush`, `merge` and `compact` by any, one at a time, off the loop.

What is durable is the view as of exactly `durable_seq`; after a crash the journal is replayed from there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from recollectd._native.keyword_index import KeywordIndex, SegmentMerge
from recollectd.protocol import errors
from recollectd.storage.keywords.analysis import ANALYSIS_VERSION, Analyser, Span, analyser
from recollectd.storage.keywords.errors import KeywordsDamaged, KeywordsOutdated
from recollectd.storage.keywords.files import ASIDE_SUFFIX, Files, checksum_of, replace
from recollectd.storage.keywords.manifest import (
    MANIFEST_NAME,
    Manifest,
    SegmentEntry,
    encode_manifest,
    read_manifest,
    segment_name,
)
from recollectd.storage.keywords.options import (
    DEFAULT_SCORING,
    LIMIT_MAX,
    QUERY_CHARS_MAX,
    WEIGHT_MAX,
    WEIGHT_MIN,
    Change,
    Hit,
    KeywordOptions,
    Put,
    Scoring,
    Statistics,
)
from recollectd.storage.keywords.planning import next_merge

_FILL_DOCUMENTS: Final = 256
ALIKE_TERMS_MAX: Final = 200
# Words that a larger share of a scope's documents has say little about what they have in common.
RARE_SHARE: Final = 0.05


class Keywords:
    """A keyword view. Made by `open_keywords` and `rebuild_keywords`."""

    def __init__(self, files: Files, options: KeywordOptions) -> None:
        self.options = options
        self._files = files
        self._index = KeywordIndex(len(options.fields))
        self._applied_seq = 0
        self._manifest = Manifest(0, 1, options.fields, ANALYSIS_VERSION, ())
        self._segments: dict[int, SegmentEntry] = {}
        self._next_number = 1
        self._garbage: list[str] = []
        self._background = threading.Lock()

    # -- the journal's side ----------------------------------------------------------------------------------------

    @property
    def applied_seq(self) -> int:
        """The last commit that searches see."""
        return self._applied_seq

    @property
    def durable_seq(self) -> int:
        """The commit that would be seen after a crash: replay what follows it."""
        return self._manifest.covered_seq

    def apply(self, seq: int, changes: Iterable[Change]) -> None:
        """Make a commit visible, all of it at once. Commits that were applied before are passed over.

        Raises ValueError, and applies nothing, if a document has not one text or None for each field.
        """
        if seq <= self._applied_seq:
            return
        packed = [self._packed(change) for change in changes]
        self._index.apply(seq, packed)
        self._applied_seq = seq

    def _packed(self, change: Change) -> tuple[bytes, bytes, tuple[bytes | None, ...] | None]:
        if not isinstance(change, Put):
            return change.scope, change.record_id, None
        if len(change.texts) != len(self.options.fields):
            raise ValueError(f"a document has the fields {self.options.fields}, not {len(change.texts)} texts")
        pack = self._analyser(change.scope).pack
        return (
            change.scope,
            change.record_id,
            tuple(None if text is None else pack(text) for text in change.texts),
        )

    def _analyser(self, scope: bytes) -> Analyser:
        return analyser(self.options.analysis_of(scope))

    # -- searching -------------------------------------------------------------------------------------------------

    def search(
        self,
        scope: bytes,
        query: str,
        *,
        weights: Mapping[str, float],
        limit: int,
        allowed: Collection[bytes] | None = None,
        scoring: Scoring = DEFAULT_SCORING,
    ) -> list[Hit]:
        """Return the best documents of a scope, the best first, equal ones in the order of their ids.

        weights: what a field's BM25 score is multiplied by before they are added; allowed: the only ids that may be
        answered (statistics are those of the whole scope all the same). A query without terms finds nothing.
        Raises InvalidArgument naming the field; KeywordsDamaged if a segment changed under us.
        """
        if len(query) > QUERY_CHARS_MAX:
            raise errors.InvalidArgument(f"a query has at most {QUERY_CHARS_MAX} characters", field="query")
        if not 1 <= limit <= LIMIT_MAX:
            raise errors.InvalidArgument(f"limit is 1 to {LIMIT_MAX}, not {limit}", field="limit")
        shares = [(self._field(name), self._weight(name, weight)) for name, weight in weights.items()]
        scoring.check()
        terms = self._analyser(scope).query(query)
        chosen = None if allowed is None else tuple(allowed)
        return self._find(scope, terms, shares, limit, scoring, chosen)

    def search_alike(
        self, scope: bytes, texts: Iterable[str], *, query: str, weights: Mapping[str, float], among: Collection[bytes]
    ) -> list[Hit]:
        """Return the documents among those given that have words of texts, but for the query's, the best first.

        Of the first ALIKE_TERMS_MAX different words those count that are rare, but in more than one document of the
        scope. Raises KeywordsDamaged.
        """
        analysed = self._analyser(scope)
        known = set(analysed.query(query))
        terms = list(dict.fromkeys(term for text in texts for term in analysed.query(text) if term not in known))
        shares = [(self._field(name), self._weight(name, weight)) for name, weight in weights.items()]
        return self._find(scope, terms[:ALIKE_TERMS_MAX], shares, len(among), DEFAULT_SCORING, tuple(among), RARE_SHARE)

    def _find(
        self,
        scope: bytes,
        terms: list[bytes],
        shares: list[tuple[int, float]],
        limit: int,
        scoring: Scoring,
        among: tuple[bytes, ...] | None,
        rare_share: float = 0.0,
    ) -> list[Hit]:
        try:
            found = self._index.search(scope, terms, shares, limit, scoring.k1, scoring.b, among, rare_share)
        except ValueError as error:
            raise KeywordsDamaged(f"{self._files.folder}: {error}") from error
        return [Hit(record_id, score) for record_id, score in found]

    def _field(self, name: str) -> int:
        if name not in self.options.fields:
            raise errors.InvalidArgument(f"there is no field {name[:40]!r}", field="weights")
        return self.options.fields.index(name)

    def _weight(self, name: str, weight: float) -> float:
        if not WEIGHT_MIN <= weight <= WEIGHT_MAX:
            raise errors.InvalidArgument(f"the weight of {name} is {WEIGHT_MIN:g} to {WEIGHT_MAX:g}", field="weights")
        return float(weight)

    def count(self, scope: bytes) -> int:
        """Return how many documents a scope has."""
        return self._index.documents(scope)

    def highlights(self, scope: bytes, query: str, text: str) -> list[Span]:
        """Return where a text has terms of a query, analysed as the scope's documents are."""
        return self._analyser(scope).highlights(query, text)

    # -- keeping it in segments ------------------------------------------------------------------------------------

    @property
    def wants_flush(self) -> bool:
        """Whether the delta has outgrown what it should hold."""
        return self._delta_bytes() >= self.options.delta_bytes_wanted

    @property
    def pressure(self) -> float:
        """Memory of the delta as a share of what it may hold: from 1 on, refuse writes until a flush is done."""
        return self._delta_bytes() / self.options.delta_bytes_max

    @property
    def wants_merge(self) -> bool:
        """Whether `merge` would do something."""
        return bool(next_merge(self._manifest.segments))

    def _delta_bytes(self) -> int:
        return self._index.delta_bytes

    def flush(self) -> bool:
        """Make everything applied durable; return whether there was anything. Raises OSError: try again later."""
        with self._background:
            return self._flush()

    def _flush(self) -> bool:
        if self._index.totals()[0] == self._manifest.covered_seq:
            return False
        covered = self._index.freeze()
        self._replace(self._index.merge_begin([], covered))
        self._publish(covered)
        return True

    def merge(self) -> bool:
        """Do one merge, if one is wanted; return whether there was one. Raises OSError: try again later."""
        with self._background:
            numbers = next_merge(self._manifest.segments)
            if numbers:
                self._merge(numbers)
            return bool(numbers)

    def _merge(self, numbers: list[int]) -> None:
        self._replace(self._index.merge_begin(numbers, self._manifest.covered_seq))
        for number in numbers:
            self._garbage.append(self._segments.pop(number).name)
        self._publish(self._manifest.covered_seq)

    def compact(self) -> None:
        """Flush, and rewrite every segment that holds a deleted document: then no byte of one is left in the files.

        Raises OSError: try again later.
        """
        with self._background:
            self._flush()
            for entry in self._manifest.segments:
                if entry.dead:
                    self._merge([entry.number])

    def _replace(self, merge: SegmentMerge) -> None:
        """Write a merge, give it its name and install it."""
        number, name = self._next_number, segment_name(self._next_number)
        self._next_number += 1
        descriptor = self._files.create(name)
        try:
            self._index.merge_write(merge, descriptor)
            if merge.documents:
                self._files.sync(descriptor)
                self._files.rename(name)
                self._files.sync_names()
            else:
                self._files.remove(name + ASIDE_SUFFIX)
            self._index.merge_install(merge, number, descriptor)
        except OSError:
            self._files.remove(name + ASIDE_SUFFIX)
            raise
        finally:
            os.close(descriptor)
        if merge.documents:
            self._segments[number] = SegmentEntry(number, merge.file_bytes, merge.checksum, merge.documents, b"")

    def _publish(self, covered: int) -> None:
        """Say in the manifest what there is; only then remove what it named before."""
        entries = [
            SegmentEntry(
                entry.number,
                entry.file_bytes,
                entry.checksum,
                entry.documents,
                self._index.segment_dead(entry.number, covered),
            )
            for entry in self._segments.values()
        ]
        manifest = Manifest(covered, self._next_number, self.options.fields, ANALYSIS_VERSION, tuple(entries))
        replace(self._files, MANIFEST_NAME, encode_manifest(manifest))
        self._manifest = manifest
        while self._garbage:
            self._files.remove(self._garbage[-1])
            self._garbage.pop()

    # -- coming up -------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Take in what is on disk. Raises KeywordsDamaged, KeywordsOutdated."""
        self._files.make_folder()
        manifest = read_manifest(self._files.folder / MANIFEST_NAME)
        if manifest is not None:
            if manifest.fields != self.options.fields or manifest.analysis != ANALYSIS_VERSION:
                raise KeywordsOutdated(
                    f"{self._files.folder} was made for {manifest.fields} by analysis {manifest.analysis}, "
                    f"not for {self.options.fields} by {ANALYSIS_VERSION}"
                )
            for entry in manifest.segments:
                self._open_segment(entry, manifest.covered_seq)
            self._index.apply(manifest.covered_seq, [])
            self._manifest, self._applied_seq = manifest, manifest.covered_seq
            self._next_number = manifest.next_number
            self._segments = {entry.number: entry for entry in manifest.segments}
        known = {MANIFEST_NAME, *(entry.name for entry in self._manifest.segments)}
        for name in self._files.names():
            if name not in known:
                self._files.remove(name)

    def _open_segment(self, entry: SegmentEntry, covered: int) -> None:
        path = self._files.folder / entry.name
        try:
            descriptor = self._files.open(entry.name)
            try:
                if checksum_of(descriptor) != (entry.file_bytes, entry.checksum):
                    raise KeywordsDamaged(f"{path} is altered or cut short")
                self._index.segment_open(entry.number, descriptor, entry.file_bytes, entry.dead, covered)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            raise KeywordsDamaged(f"{path} cannot be read: {error}") from error

    def fill(self, seq: int, documents: Iterable[Put]) -> None:
        """Put all documents into an empty view as of commit seq and make it durable. Raises OSError."""
        with self._background:
            remaining = iter(documents)
            while batch := [self._packed(document) for document in islice(remaining, _FILL_DOCUMENTS)]:
                self._index.apply(seq, batch)
                if self.wants_flush:
                    self._index.freeze()
                    self._replace(self._index.merge_begin([], seq))
            self._index.apply(seq, [])
            self._applied_seq = seq
            self._index.freeze()
            self._replace(self._index.merge_begin([], seq))
            self._publish(seq)

    def statistics(self) -> Statistics:
        """Return what there is."""
        applied, scopes, documents, delta_documents, delta_bytes, _, memory_bytes = self._index.totals()
        manifest = self._manifest
        return Statistics(
            applied,
            manifest.covered_seq,
            scopes,
            documents,
            sum(self._index_dead(entry.number) for entry in manifest.segments),
            len(manifest.segments),
            sum(entry.file_bytes for entry in manifest.segments),
            delta_documents,
            delta_bytes,
            memory_bytes,
        )

    def _index_dead(self, number: int) -> int:
        try:
            return self._index.segment_size(number)[1]
        except KeyError:  # merged away a moment ago
            return 0


def open_keywords(folder: Path, options: KeywordOptions | None = None, files: Files | None = None) -> Keywords:
    """Return the view in a folder, an empty one if there is none. Raises KeywordsDamaged, KeywordsOutdated.

    Replay the journal from `durable_seq` then; if it does not reach back that far, `rebuild_keywords`.
    """
    view = Keywords(files or Files(folder), options or KeywordOptions())
    view.load()
    return view


def rebuild_keywords(
    folder: Path,
    seq: int,
    documents: Iterable[Put],
    options: KeywordOptions | None = None,
    files: Files | None = None,
) -> Keywords:
    """Return a view made anew from all documents as they are at commit seq, durable.

    Whatever was in the folder is removed first; a crash on the way leaves an empty view.
    """
    files = files or Files(folder)
    files.make_folder()
    files.remove(MANIFEST_NAME)
    files.sync_names()
    view = open_keywords(folder, options, files)
    view.fill(seq, documents)
    return view
