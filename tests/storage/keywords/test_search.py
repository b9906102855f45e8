"""What a search answers: exactly the best, whoever else is there, whatever is asked."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recollectd.protocol import errors
from recollectd.storage.keywords.analysis import Analysis, analyser
from recollectd.storage.keywords.options import LIMIT_MAX, QUERY_CHARS_MAX, Delete, KeywordOptions, Put, Scoring
from recollectd.storage.keywords.view import Keywords, open_keywords
from storage.keywords.conftest import Filled
from storage.keywords.oracle import best

OWN = {"own": 1.0}


def scatter(view: Keywords, scope: bytes, count: int, seed: int) -> dict[bytes, tuple[str | None, ...]]:
    """Put, replace and delete documents with flushes and merges between; return those that are left."""
    rng = random.Random(seed)
    documents: dict[bytes, tuple[str | None, ...]] = {}
    for _ in range(count):
        name = b"%d" % rng.randrange(count // 2)
        if rng.random() < 0.2:
            documents.pop(name, None)
            view.apply(view.applied_seq + 1, [Delete(scope, name)])
        else:
            text = " ".join(f"w{int(rng.paretovariate(0.7)) % 60}" for _ in range(rng.randrange(1, 30)))
            documents[name] = (text, " ".join([text] * 2))
            view.apply(view.applied_seq + 1, [Put(scope, name, documents[name])])
        if rng.random() < 0.01:
            view.flush()
        if rng.random() < 0.01:
            view.merge()
    return documents


@pytest.mark.parametrize("scoring", [Scoring(), Scoring(1.2, 0.75), Scoring(0, 0), Scoring(100, 1)])
def test_the_best_are_those_of_brute_force(filled: Filled, scoring: Scoring) -> None:
    documents = scatter(filled.view, b"s", 1500, seed=7)
    for query in ("w1", "w1 w2 w3 w4 w5", "w59 w1 w999", "w7 w7 w8"):
        for limit in (1, 10, 10_000):
            found = filled.view.search(b"s", query, weights={"own": 0.5, "context": 3}, limit=limit, scoring=scoring)
            assert found == best(documents, query, [(0, 0.5), (1, 3)], limit, scoring=scoring)


def test_neighbours_change_no_score(filled: Filled) -> None:
    scatter(filled.view, b"tea", 400, seed=1)
    before = [filled.view.search(b"tea", query, weights=OWN, limit=50) for query in ("w1 w2", "w3", "w30 w4")]
    for scope in (b"te", b"tea\0", b"team"):
        scatter(filled.view, scope, 2000, seed=2)
    for step in (filled.view.flush, filled.view.merge, filled.view.compact):
        step()
        after = [filled.view.search(b"tea", query, weights=OWN, limit=50) for query in ("w1 w2", "w3", "w30 w4")]
        assert after == before
    assert all(before)


def test_a_scope_that_is_not_there_has_nothing(filled: Filled) -> None:
    filled.put(["ship"])
    assert filled.view.search(b"other", "ship", weights=OWN, limit=5) == []


def test_equal_scores_are_in_the_order_of_ids(filled: Filled) -> None:
    filled.put(["ship"] * 30)
    filled.view.flush()
    filled.put(["ship"] * 30, prefix="a")
    found = filled.view.search(b"s", "ship", weights=OWN, limit=40)
    assert [hit.record_id for hit in found] == sorted(filled.documents)[:40]


def test_only_what_is_allowed_is_answered(filled: Filled) -> None:
    filled.put([f"ship {'harbour ' * (number % 7)}" for number in range(200)])
    filled.view.flush()
    allowed = [b"m%d" % number for number in range(0, 400, 3)]
    found = filled.view.search(b"s", "harbour ship", weights=OWN, limit=20, allowed=allowed)
    assert found == best(filled.documents, "harbour ship", [(0, 1.0)], 20, allowed=allowed)
    assert filled.view.search(b"s", "harbour", weights=OWN, limit=20, allowed=()) == []


def test_a_field_without_documents_adds_nothing(filled: Filled) -> None:
    filled.put(["ship", "harbour"])
    weights = {"own": 1.0, "context": 9.0}
    assert filled.view.search(b"s", "ship", weights=weights, limit=5) == best(
        filled.documents, "ship", [(0, 1.0), (1, 9.0)], 5
    )


def test_each_scope_has_its_analysis(folder: Path) -> None:
    plain = Analysis("", False, False)
    options = KeywordOptions(analysis_of=lambda scope: plain if scope == b"plain" else Analysis())
    view = open_keywords(folder, options)
    view.apply(1, [Put(scope, b"m", ("the ships", None)) for scope in (b"plain", b"stems")])
    assert [bool(view.search(scope, "ship", weights=OWN, limit=1)) for scope in (b"plain", b"stems")] == [False, True]
    assert [bool(view.search(scope, "the", weights=OWN, limit=1)) for scope in (b"plain", b"stems")] == [True, False]
    assert view.highlights(b"plain", "ship", "ships") == []
    assert view.highlights(b"stems", "ship", "ships") == [(0, 5)]


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        "\0",
        "\0" * 10_000,
        '+-&|!(){}[]^"~*?:\\/' * 500,
        "😀" * 10_000,
        "a" * 10_000,
        "ship " * 2_000,
        "\ud800",
    ],
    ids=lambda query: f"{len(query)}-{query[:3]!a}",
)
def test_hostile_queries_are_answered(filled: Filled, query: str) -> None:
    filled.put(["ship 😀", "a" * 10_000, "\0", query])
    assert filled.view.search(b"s", query, weights=OWN, limit=9) == best(filled.documents, query, [(0, 1.0)], 9)


def test_thousands_of_different_terms(filled: Filled) -> None:
    query = " ".join(f"{number:x}" for number in range(4_000))
    filled.put([query, "fe", "1 2 3"])
    found = filled.view.search(b"s", query, weights=OWN, limit=9)
    assert found == best(filled.documents, query, [(0, 1.0)], 9)
    assert len(found) == 3


@pytest.fixture(scope="module")
def alphabet(tmp_path_factory: pytest.TempPathFactory) -> Keywords:
    """A document for each of the first characters there are."""
    view = open_keywords(tmp_path_factory.mktemp("shared") / "keywords")
    view.apply(1, [Put(b"s", b"%d" % code, (chr(code), None)) for code in range(1, 3000)])
    view.flush()
    return view


@settings(max_examples=300)
@given(query=st.text(max_size=300))
def test_any_query_is_answered(alphabet: Keywords, query: str) -> None:
    found = {int(hit.record_id) for hit in alphabet.search(b"s", query, weights=OWN, limit=3000)}
    terms = set(analyser(Analysis()).terms(query))
    assert found == {code for code in range(1, 3000) if terms & set(analyser(Analysis()).terms(chr(code)))}


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("limit", {"limit": 0}),
        ("limit", {"limit": LIMIT_MAX + 1}),
        ("weights", {"weights": {"title": 1.0}}),
        ("weights", {"weights": {"own": 0.0}}),
        ("weights", {"weights": {"own": float("nan")}}),
        ("weights", {"weights": {"own": float("inf")}}),
        ("query", {"query": "a" * (QUERY_CHARS_MAX + 1)}),
        ("k1", {"scoring": Scoring(k1=-1)}),
        ("b", {"scoring": Scoring(b=float("nan"))}),
    ],
)
def test_bad_arguments_are_named(filled: Filled, field: str, arguments: dict[str, object]) -> None:
    good: dict[str, object] = {"query": "ship", "weights": OWN, "limit": 5}
    with pytest.raises(errors.InvalidArgument) as raised:
        filled.view.search(b"s", **{**good, **arguments})  # type: ignore[arg-type]
    assert raised.value.field == field


def test_a_commit_with_a_bad_document_changes_nothing(filled: Filled) -> None:
    filled.put(["ship"])
    seq = filled.view.applied_seq
    with pytest.raises(ValueError, match="fields"):
        filled.view.apply(seq + 1, [Delete(b"s", b"m0"), Put(b"s", b"m1", ("one",))])
    assert filled.view.applied_seq == seq
    assert len(filled.view.search(b"s", "ship", weights=OWN, limit=5)) == 1
