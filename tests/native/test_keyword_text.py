"""Where words begin and end, with a resolver that changes nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd._native.keyword_text import CLASSES, TextAnalysis


def classify(char: str) -> int:
    if "一" <= char <= "鿿":
        return CLASSES["unspaced"]
    kinds = {"L": "word", "N": "word", "M": "mark", "So": "symbol"}
    category = unicodedata.category(char)
    return CLASSES[kinds.get(category) or kinds.get(category[0], "separator")]


def analysis(*, joins: bool = True, words_max: int = 1000, word_chars_max: int = 8) -> TextAnalysis:
    return TextAnalysis(lambda word: word.encode("utf-8", "surrogatepass"), classify, joins, words_max, word_chars_max)


def words(text: str, *, joins: bool = True) -> list[str]:
    return [text[begin:end] for begin, end, _ in analysis(joins=joins).spans(text)]


@pytest.mark.parametrize(
    ("text", "joined", "split"),
    [
        ("it's", ["it's"], ["it", "s"]),
        ("rock 'n' roll", ["rock", "n", "roll"], ["rock", "n", "roll"]),
        ("a''b 'c", ["a", "b", "c"], ["a", "b", "c"]),
        ("l’été", ["l’été"], ["l", "été"]),
        ("end'", ["end"], ["end"]),
        ("e\u0301a \u0301", ["e\u0301a"], ["e\u0301a"]),
        ("山川x", ["山", "山川", "川", "x"], ["山", "山川", "川", "x"]),
        ("😀x😀", ["😀", "x", "😀"], ["😀", "x", "😀"]),
    ],
)
def test_words(text: str, joined: list[str], split: list[str]) -> None:
    assert words(text) == joined
    assert words(text, joins=False) == split


@given(st.text())
def test_spans_lie_in_the_text(text: str) -> None:
    for begin, end, term in analysis().spans(text):
        assert 0 <= begin < end <= len(text)
        assert term == text[begin:end][:8].encode("utf-8", "surrogatepass") or text[begin:end].isascii()


def test_a_word_is_resolved_once_whatever_its_case() -> None:
    asked: list[str] = []

    def resolve(word: str) -> bytes | None:
        asked.append(word)
        return None if word == "no" else word.lower().encode()

    text = TextAnalysis(resolve, classify, True, 10, 8)
    assert text.pack("Ship ship SHIP no no") == b"\x03\x04ship\x03"
    assert asked == ["Ship", "no"]


def test_what_the_resolver_raises_is_raised() -> None:
    def resolve(word: str) -> bytes | None:
        raise LookupError(word)

    text = TextAnalysis(resolve, classify, True, 10, 8)
    with pytest.raises(LookupError, match="ship"):
        text.pack("ship")
    assert text.pack("...") == b"\x00"


def test_it_says_when_it_is_full() -> None:
    text = analysis(words_max=2)
    text.pack("a")
    full = [text.is_full]
    text.pack("b")
    assert [*full, text.is_full] == [False, True]
    assert text.pack("c c") == b"\x02\x01c\x02"


def test_only_text_is_analysed() -> None:
    with pytest.raises(TypeError):
        analysis().pack(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        analysis().spans(b"bytes")  # type: ignore[arg-type]
