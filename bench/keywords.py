"""Keyword search in process, beside tantivy: time per query, exactness, adding, files, commits while files are made.

Texts are made up: words of an English look whose frequencies follow Zipf's law, none of them a stop word, so that both
sides have the same terms. Queries are 2 to 8 words of one document. Both sides get the query's text and give back ten
ids. Each query is put to both, one after the other, in an order that changes; a query's time is the CPU of the calling
thread. With many namespaces tantivy gets a filter (a required term that counts nothing); its scores are then not those
of the namespace, ours are.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import tantivy

from bench.latency import percentiles
from bench.report import Report
from recollectd.storage.keywords.analysis import DEFAULT_ANALYSIS, analyser
from recollectd.storage.keywords.options import DEFAULT_SCORING, Delete, KeywordOptions, Put
from recollectd.storage.keywords.view import Keywords, open_keywords

DOCUMENTS: Final = 100_000
DOCUMENTS_LONG: Final = 1_000_000
QUERIES: Final = 1_500
CHECKED: Final = 60
WORDS: Final = 40_000
LIMIT: Final = 10
RATIO_MAX: Final = 2.0
OPTIONS: Final = KeywordOptions(fields=("own",))
WEIGHTS: Final = {"own": 1.0}

Texts = dict[int, str]
Ask = Callable[[int, str], list[Any]]


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--documents", type=int, help=f"documents in all (default {DOCUMENTS:,})")
    parser.add_argument("--seed", type=int, default=1, help="of texts and queries")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Run one case after the other."""
    count = arguments.documents or (DOCUMENTS_LONG if arguments.long else DOCUMENTS)
    rng = random.Random(arguments.seed)
    texts = dict(enumerate(make_texts(rng, count)))
    for scopes in (1, 1_000):
        folder = Path(tempfile.mkdtemp(prefix="recollectd-bench-", dir=arguments.folder))
        try:
            _one_shape(report, rng, dict(texts), scopes, folder)
        finally:
            shutil.rmtree(folder)


def make_texts(rng: random.Random, count: int) -> Iterator[str]:
    """Return texts of 5 to 60 words."""
    syllables = [first + middle + last for first in "bdfgklmnprstv" for middle in "aeiou" for last in "lmnrst"]
    words = sorted(
        {"".join(rng.choices(syllables, k=rng.randint(1, 3))) + rng.choice(("", "", "s", "ing")) for _ in range(WORDS)}
    )
    rng.shuffle(words)
    shares = list(accumulate(1 / (rank + 10) for rank in range(len(words))))
    for _ in range(count):
        yield " ".join(rng.choices(words, cum_weights=shares, k=rng.randint(5, 60)))


def scope_name(number: int, scopes: int) -> str:
    """Return the namespace of a document."""
    return f"tenant-{number % scopes}"


def _one_shape(report: Report, rng: random.Random, texts: Texts, scopes: int, folder: Path) -> None:
    case = f"{len(texts):,} documents, {scopes:,} namespace{'s' * (scopes > 1)}"
    ours = Ours(folder / "keywords", scopes)
    theirs = Tantivy(folder / "tantivy", scopes)
    began = time.thread_time()
    longest_ms, longest_cpu_ms = ours.add(texts)
    ours_us = (time.thread_time() - began) / len(texts) * 1e6
    began = time.process_time()
    theirs.add(texts)
    theirs_us = (time.process_time() - began) / len(texts) * 1e6
    report.add("CPU of adding one document", case, unit="us", ours=ours_us, theirs=theirs_us, peer="tantivy")
    report.add("longest commit while flushing and merging", case, unit="ms", ours=longest_ms)
    report.add("longest commit while flushing and merging, its CPU", case, unit="ms", ours=longest_cpu_ms)
    _searches(report, rng, case, texts, scopes, ours.ask, theirs.ask)
    _exactness(report, rng, case, texts, scopes, ours.view)
    gone = rng.sample(sorted(texts), len(texts) * 3 // 10)
    for number in gone:
        del texts[number]
    ours.delete(gone)
    theirs.delete(gone)
    case += ", 30 % deleted"
    _searches(report, rng, case, texts, scopes, ours.ask, theirs.ask)
    ours.settle()
    _exactness(report, rng, case + " and merged", texts, scopes, ours.view)
    statistics = ours.view.statistics()
    documents = max(statistics.documents, 1)
    report.add("bytes of files per document", case + " and merged", unit="B", ours=statistics.segment_bytes / documents)
    report.add("bytes of memory per document", case + " and merged", unit="B", ours=statistics.memory_bytes / documents)
    began = time.perf_counter()
    again = open_keywords(folder / "keywords", OPTIONS)
    report.add("opening: checksums compared, mapped", case, unit="s", ours=time.perf_counter() - began)
    assert again.statistics().documents == len(texts)


class Ours:
    """The keyword view, with its flushes and merges on a thread of their own."""

    def __init__(self, folder: Path, scopes: int) -> None:
        self.view = open_keywords(folder, OPTIONS)
        self.scopes = scopes

    def _scope(self, number: int) -> bytes:
        return scope_name(number, self.scopes).encode()

    def add(self, texts: Texts) -> tuple[float, float]:
        """Add documents, one a commit; return the longest commit in milliseconds, and its CPU."""
        done = threading.Event()

        def keep() -> None:
            while not done.wait(0.01):
                if self.view.wants_flush:
                    self.view.flush()
                while self.view.merge():
                    pass

        keeper = threading.Thread(target=keep)
        keeper.start()
        longest = longest_cpu = 0.0
        for seq, (number, text) in enumerate(texts.items(), start=1):
            began, began_cpu = time.perf_counter(), time.thread_time()
            self.view.apply(seq, [Put(self._scope(number), b"%08d" % number, (text,))])
            longest_cpu = max(longest_cpu, time.thread_time() - began_cpu)
            longest = max(longest, time.perf_counter() - began)
        done.set()
        keeper.join()
        self.view.flush()
        while self.view.merge():
            pass
        return longest * 1e3, longest_cpu * 1e3

    def delete(self, numbers: list[int]) -> None:
        """Delete documents, one a commit."""
        for number in numbers:
            self.view.apply(self.view.applied_seq + 1, [Delete(self._scope(number), b"%08d" % number)])

    def settle(self) -> None:
        """Leave no deleted document in the files."""
        self.view.compact()

    def ask(self, number: int, query: str) -> list[Any]:
        """Search the namespace of a document."""
        return self.view.search(self._scope(number), query, weights=WEIGHTS, limit=LIMIT)


class Tantivy:
    """One index for all namespaces, without positions, as its documentation advises for plain ranking."""

    def __init__(self, folder: Path, scopes: int) -> None:
        folder.mkdir()
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", stored=False, tokenizer_name="en_stem", index_option="freq")
        builder.add_text_field("scope", stored=False, tokenizer_name="raw", index_option="basic")
        builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
        self.index = tantivy.Index(builder.build(), path=str(folder))
        self.scopes = scopes

    def add(self, texts: Texts) -> None:
        """Add documents in one commit and wait for its merges."""
        writer = self.index.writer(200_000_000, 1)
        for number, text in texts.items():
            writer.add_document(tantivy.Document(text=text, scope=scope_name(number, self.scopes), id=f"{number:08}"))
        self._commit(writer)

    def delete(self, numbers: list[int]) -> None:
        """Delete documents in one commit."""
        writer = self.index.writer(200_000_000, 1)
        for number in numbers:
            writer.delete_documents("id", f"{number:08}")
        self._commit(writer)

    def _commit(self, writer: Any) -> None:
        writer.commit()
        writer.wait_merging_threads()
        self.index.reload()
        self.searcher = self.index.searcher()

    def ask(self, number: int, query: str) -> list[Any]:
        """Search the namespace of a document."""
        parsed = self.index.parse_query(query, ["text"])
        if self.scopes > 1:
            scope = tantivy.Query.term_query(self.index.schema, "scope", scope_name(number, self.scopes))
            required = (tantivy.Occur.Must, tantivy.Query.boost_query(scope, 0.0))
            parsed = tantivy.Query.boolean_query([required, (tantivy.Occur.Must, parsed)])
        hits = self.searcher.search(parsed, LIMIT, count=False).hits
        return [self.searcher.doc(address)["id"] for _, address in hits]


def _queries(rng: random.Random, texts: Texts, count: int) -> Iterator[tuple[int, str]]:
    numbers = sorted(texts)
    for _ in range(count):
        number = rng.choice(numbers)
        words = texts[number].split()
        yield number, " ".join(rng.sample(words, min(len(words), rng.randint(2, 8))))


def _searches(report: Report, rng: random.Random, case: str, texts: Texts, scopes: int, ours: Ask, theirs: Ask) -> None:
    samples: dict[Ask, list[float]] = {ours: [], theirs: []}
    for turn, (number, query) in enumerate(_queries(rng, texts, QUERIES + 100)):
        for ask in (ours, theirs) if turn % 2 else (theirs, ours):
            began = time.thread_time_ns()
            found = ask(number, query)
            if turn >= 100:  # the first ones warm both sides up
                samples[ask].append((time.thread_time_ns() - began) / 1e3)
            assert found, query
    means = {ask: sum(taken) / len(taken) for ask, taken in samples.items()}
    for name, figure in (("mean", means), *((name, _percentile(samples, name)) for name in ("p50", "p99"))):
        report.add(
            f"CPU of one query, {name}", case, unit="us", ours=figure[ours], theirs=figure[theirs], peer="tantivy"
        )
    ratio = means[ours] / means[theirs]
    report.add("CPU of one query, as often as tantivy's", case, unit="x", ours=ratio, must=f"<= {RATIO_MAX}")


def _percentile(samples: dict[Ask, list[float]], name: str) -> dict[Ask, float]:
    return {ask: float(getattr(percentiles(taken), name)) * 1e3 for ask, taken in samples.items()}


def _exactness(report: Report, rng: random.Random, case: str, texts: Texts, scopes: int, view: Keywords) -> None:
    """Compare ids and scores with brute force over the namespace alone, written without the view."""
    differ = 0
    scopes_of = defaultdict(list)
    for number in texts:
        scopes_of[scope_name(number, scopes)].append(number)
    at_work = analyser(DEFAULT_ANALYSIS)
    counted: dict[int, Counter[bytes]] = {}
    for number, query in _queries(rng, texts, CHECKED):
        scope = scope_name(number, scopes)
        for one in scopes_of[scope]:
            if one not in counted:
                counted[one] = Counter(at_work.terms(texts[one]))
        documents = {one: counted[one] for one in scopes_of[scope]}
        found = view.search(scope.encode(), query, weights=WEIGHTS, limit=LIMIT)
        differ += [(int(hit.record_id), hit.score) for hit in found] != brute_force(documents, at_work.query(query))
    report.add(
        "queries with another id or score than brute force", case, unit=f"of {CHECKED}", ours=differ, must="== 0"
    )


def brute_force(documents: dict[int, Counter[bytes]], terms: list[bytes]) -> list[tuple[int, float]]:
    """Return the best documents by BM25 over these documents alone."""
    k1, b = DEFAULT_SCORING
    lengths = {number: counted.total() for number, counted in documents.items()}
    average = sum(lengths.values()) / len(lengths)
    scores: defaultdict[int, float] = defaultdict(float)
    for term in terms:
        having = [number for number, counted in documents.items() if term in counted]
        idf = math.log(1.0 + (len(documents) - len(having) + 0.5) / (len(having) + 0.5))
        for number in having:
            occurrences = documents[number][term]
            norm = k1 * (1.0 - b) + k1 * b / average * lengths[number]
            scores[number] += 1.0 * idf * (k1 + 1.0) * occurrences / (occurrences + norm)
    return sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:LIMIT]
