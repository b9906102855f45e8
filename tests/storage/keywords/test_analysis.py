"""Which terms a text has, in the scripts and forms that people write in."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd.protocol import errors
from recollectd.storage.keywords.analysis import (
    DEFAULT_ANALYSIS,
    WORD_CHARS_MAX,
    Analyser,
    Analysis,
    analyser,
    languages,
)
from recollectd.storage.keywords.stop_words import STOP_WORDS

PLAIN = Analysis("", False, False)


def terms(text: str, analysis: Analysis = DEFAULT_ANALYSIS) -> list[str]:
    return [term.decode() for term in analyser(analysis).terms(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The ships were SHIPPED, shipping!", ["ship", "ship", "ship"]),
        ("Ada's don't, it’s", ["ada"]),
        ("'quoted' words'", ["quot", "word"]),
        ("snake_case kebab-case 3.14 10,000", ["snake", "case", "kebab", "case", "3", "14", "10", "000"]),
        ("ｆｕｌｌ ﬁne ㎏ Straße", ["full", "fine", "kg", "strass"]),
        ("cafe\u0301 café", ["café", "café"]),
        ("好き", ["好", "好き", "き"]),
        ("a猫b", ["猫", "b"]),
        ("😀😀 £5 €", ["😀", "😀", "£", "5", "€"]),
        ("हिन्दी ελληνικά русский", ["हिन्दी", "ελληνικά", "русский"]),
        ('\0\x01 \u200b \u0301 --- +&|!(){}[]^"~*?:\\/', []),
        ("", []),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_analysis_is_chosen() -> None:
    assert terms("the ships", Analysis(stop_words=False)) == ["the", "ship"]
    assert terms("the ships", Analysis(stemming=False)) == ["ships"]
    assert terms("the ships", PLAIN) == ["the", "ships"]
    assert terms("die Häuser", Analysis("german")) == ["haus"]
    assert terms("l'amour des maisons", Analysis("french")) == ["amour", "maison"]


def test_a_language_that_is_not_known_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        analyser(Analysis("klingon"))
    assert raised.value.field == "language"


@pytest.mark.parametrize("language", languages())
def test_every_language_works(language: str) -> None:
    assert terms("memory 猫 память", Analysis(language))[-1]


def test_stop_words_are_words_as_they_are_compared() -> None:
    for language, words in STOP_WORDS.items():
        plain = Analyser(Analysis(language, stemming=False, stop_words=False))
        for word in words:
            assert [term.decode().removesuffix("'s") for term in plain.terms(word)] == [word.removesuffix("'s")]


def test_only_the_beginning_of_a_long_word_counts() -> None:
    long = "x" * WORD_CHARS_MAX
    assert terms(long + "a", PLAIN) == terms(long + "b", PLAIN) == [long]


@given(st.text(max_size=60))
def test_packing_counts_the_terms(text: str) -> None:
    at_work = analyser(DEFAULT_ANALYSIS)
    found = at_work.terms(text)
    packed = at_work.pack(text)
    counted = {term: found.count(term) for term in found}
    assert packed[0] == len(found)
    assert len(packed) == 1 + sum(2 + len(term) for term in counted)
    for term, occurrences in counted.items():
        assert bytes([len(term)]) + term + bytes([occurrences]) in packed


@given(st.text(), st.text())
def test_highlights_lie_in_the_text_in_order(query: str, text: str) -> None:
    spans = analyser(DEFAULT_ANALYSIS).highlights(query, text)
    ends = [number for span in spans for number in span]
    assert ends == sorted(ends)
    assert all(0 <= span.begin < span.end <= len(text) for span in spans)
    assert bool(spans) == bool(set(terms_of(query)) & set(terms_of(text)))


def terms_of(text: str) -> list[bytes]:
    return analyser(DEFAULT_ANALYSIS).terms(text)


def test_highlights_are_of_the_displayed_text() -> None:
    text = "The harbour: SHIPS, a ship and 猫が好き."
    spans = analyser(DEFAULT_ANALYSIS).highlights("shipping 猫が", text)
    assert [text[span.begin : span.end] for span in spans] == ["SHIPS", "ship", "猫が"]


def test_lone_surrogates_are_text_too() -> None:
    assert analyser(DEFAULT_ANALYSIS).terms("\ud800 a\udfffb")


def test_a_full_memory_of_words_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recollectd.storage.keywords.analysis._WORDS_REMEMBERED_MAX", 3)
    at_work = Analyser(PLAIN)
    for number in range(20):
        assert at_work.terms(f"a{number} b{number}") == [f"a{number}".encode(), f"b{number}".encode()]


def test_threads_analyse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recollectd.storage.keywords.analysis._WORDS_REMEMBERED_MAX", 50)
    at_work = Analyser(PLAIN)
    wrong: list[str] = []

    def work(name: str) -> None:
        for number in range(300):
            text = f"{name}{number} {number} {name}"
            if at_work.terms(text) != [word.encode() for word in text.split()]:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
