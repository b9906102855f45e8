"""Searches beside commits, flushes and merges: each sees the scope as of one commit."""

from __future__ import annotations

import threading

from recollectd.storage.keywords.options import Change, Delete, Put
from storage.keywords.conftest import Filled

OWN = {"own": 1.0}


def test_every_search_sees_one_commit(filled: Filled) -> None:
    """Each commit moves the one document with `beacon` to another id and rewrites the others, so that every commit has
    the same scores: one document with the term, one hundred of the same length. A search that saw half a commit would
    find none or two, or another score.
    """
    view = filled.view
    names = [b"%d" % number for number in range(100)]

    def commit(seq: int) -> list[Change]:
        texts = {name: ("beacon light" if at == seq % 100 else "tower light", None) for at, name in enumerate(names)}
        return [Put(b"s", name, text) for name, text in texts.items()] + [Delete(b"s", b"none")]

    view.apply(1, commit(1))
    expected = view.search(b"s", "beacon light", weights=OWN, limit=200)
    scores = [hit.score for hit in expected]
    wrong: list[object] = []
    searched: list[int] = []
    done = threading.Event()

    def search() -> None:
        count = 0
        while not done.is_set() or count < 20:
            found = view.search(b"s", "beacon light", weights=OWN, limit=200)
            if [hit.score for hit in found] != scores:
                wrong.append(found)
            count += 1
        searched.append(count)

    def keep() -> None:
        while not done.is_set():
            view.flush()
            view.merge()
        view.compact()

    threads = [threading.Thread(target=search), threading.Thread(target=search), threading.Thread(target=keep)]
    for thread in threads:
        thread.start()
    for seq in range(2, 600):
        view.apply(seq, commit(seq))
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(searched) == 2
    assert view.search(b"s", "beacon", weights=OWN, limit=5)[0].record_id == b"99"


def test_many_scopes_in_one_segment(filled: Filled) -> None:
    view = filled.view
    for number in range(10_000):
        view.apply(number + 1, [Put(b"scope%d" % number, b"m", (f"ship number{number}", None))])
    view.flush()
    statistics = view.statistics()
    assert (statistics.scopes, statistics.segments, statistics.documents) == (10_000, 1, 10_000)
    for number in range(0, 10_000, 997):
        (hit,) = view.search(b"scope%d" % number, f"number{number}", weights=OWN, limit=5)
        assert hit.record_id == b"m"
        assert view.search(b"scope%d" % number, f"number{number + 1}", weights=OWN, limit=5) == []
