"""Random commits, searches, flushes, merges, kills and power cuts between any two operations on files, against a dict.

Every search is compared with brute force: the same documents, the same order, the same scores to the last bit. After a
crash the view must be exactly as of its durable commit, and as of the last one when the journal is replayed.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from recollectd.storage.keywords.options import Change, Delete, Put
from recollectd.storage.keywords.view import open_keywords
from storage.keywords.oracle import best
from storage.keywords.stopping import Stopped, StoppingFiles

SCOPES: Final = (b"team", b"team\0a", b"tea", b"\0")  # one begins with another
WORDS: Final = (
    "ship",
    "ships",
    "shipping",
    "the",
    "harbour",
    "2024",
    "猫が好き",
    "😀",
    "naïve",
    "\0",
    "x" * 70,
    "don't",
)
WEIGHTS: Final = {"own": 1.0, "context": 2.0}

texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
fields = st.tuples(st.none() | texts, texts)
puts = st.builds(Put, st.sampled_from(SCOPES), st.integers(0, 12).map(lambda number: b"m%d" % number), fields)
deletes = st.builds(Delete, st.sampled_from(SCOPES), st.integers(0, 12).map(lambda number: b"m%d" % number))
commits = st.lists(puts | puts | deletes, max_size=5)

Model = dict[bytes, dict[bytes, tuple[str | None, ...]]]


def after(history: list[list[Change]], seq: int) -> Model:
    """Return the documents as of a commit."""
    model: Model = {}
    for changes in history[:seq]:
        for change in changes:
            documents = model.setdefault(change.scope, {})
            if isinstance(change, Put):
                documents[change.record_id] = change.texts
            else:
                documents.pop(change.record_id, None)
    return model


class KeywordsMachine(RuleBasedStateMachine):
    """The view beside `history`, the changes of each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="recollectd-keywords-"))
        self.history: list[list[Change]] = []
        self.promised_seq = 0

    @initialize()
    def make(self) -> None:
        self.open()

    def open(self) -> None:
        self.files = StoppingFiles(self.root / "keywords")
        self.view = open_keywords(self.root / "keywords", files=self.files)

    @rule(changes=commits)
    def commit(self, changes: list[Change]) -> None:
        self.history.append(changes)
        self.view.apply(len(self.history), changes)

    @rule(
        scope=st.sampled_from(SCOPES),
        query=texts,
        limit=st.integers(1, 14),
        some=st.none() | st.sets(st.integers(0, 12)),
    )
    def search(self, scope: bytes, query: str, limit: int, some: set[int] | None) -> None:
        allowed = None if some is None else {b"m%d" % number for number in some}
        found = self.view.search(scope, query, weights=WEIGHTS, limit=limit, allowed=allowed)
        documents = after(self.history, len(self.history)).get(scope, {})
        assert found == best(documents, query, [(0, 1.0), (1, 2.0)], limit, allowed=allowed)

    @rule()
    def flush(self) -> None:
        self.view.flush()
        self.promised_seq = len(self.history)

    @rule()
    def merge(self) -> None:
        self.view.merge()

    @rule()
    def compact(self) -> None:
        self.view.compact()
        self.promised_seq = len(self.history)

    @rule(
        what=st.sampled_from(("flush", "merge", "compact")),
        operations=st.integers(0, 14),
        seed=st.none() | st.integers(),
    )
    def crash(self, what: str, operations: int, seed: int | None) -> None:
        """Stop after so many operations on files (perhaps after all of them); with a seed the power is cut as well."""
        self.files.operations_left = operations
        try:
            getattr(self.view, what)()
        except Stopped:
            pass
        else:
            self.promised_seq = self.view.durable_seq
        if seed is not None:
            self.files.cut_power(random.Random(seed))
        self.open()
        assert self.promised_seq <= self.view.durable_seq <= len(self.history)
        self.promised_seq = self.view.durable_seq
        self.agrees(self.view.durable_seq)
        for seq in range(self.view.durable_seq + 1, len(self.history) + 1):
            self.view.apply(seq, self.history[seq - 1])

    @rule()
    def run_again(self) -> None:
        """What was applied before is passed over."""
        for seq, changes in enumerate(self.history, start=1):
            self.view.apply(seq, changes)

    @invariant()
    def everything_is_there(self) -> None:
        if hasattr(self, "view"):
            self.agrees(len(self.history))

    def agrees(self, seq: int) -> None:
        model = after(self.history, seq)
        assert self.view.applied_seq == seq
        assert self.view.statistics().documents == sum(len(documents) for documents in model.values())
        for scope in SCOPES:
            found = self.view.search(scope, "ship harbour 猫 😀", weights={"context": 1.0}, limit=20)
            assert found == best(model.get(scope, {}), "ship harbour 猫 😀", [(1, 1.0)], 20)

    def teardown(self) -> None:
        shutil.rmtree(self.root)


TestKeywords = KeywordsMachine.TestCase
TestKeywords.settings = settings(max_examples=60, stateful_step_count=40)
