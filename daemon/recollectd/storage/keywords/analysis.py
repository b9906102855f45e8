"""Analysis: which terms a text has. The same for documents and queries, chosen per namespace.

A word is normalised (NFKC, case folded), dropped if it is a stop word, and stemmed; `native/keyword_text.pyx` says
where words begin and end. Stemming is Snowball's (PyStemmer). Each word is resolved once and remembered.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Final, NamedTuple

import Stemmer

from recollectd._native.keyword_text import CLASSES, TextAnalysis
from recollectd.protocol import errors
from recollectd.storage.keywords.stop_words import STOP_WORDS

# Anything that changes which terms a text has, or which texts are counted, changes this; a view written by another one
# is made anew.
ANALYSIS_VERSION: Final = f"2/snowball-{Stemmer.version()}"

WORD_CHARS_MAX: Final = 64  # what a longer word has beyond is not looked at
_WORDS_REMEMBERED_MAX: Final = 100_000
_TERM_BYTES_MAX: Final = 255

# An apostrophe inside a word belongs to it where it shortens (don't) or says whose (Ada's); elsewhere it joins two.
_JOINS_APOSTROPHE: Final = ("english", "")

# Scripts that are written without spaces.
_UNSPACED: Final = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029)),
    *((0x3041, 0x30FF), (0x3105, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF)),
    *((0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFD)),
)
_CLASS_OF_CATEGORY: Final = {"L": "word", "N": "word", "M": "mark", "So": "symbol", "Sc": "symbol"}


def languages() -> tuple[str, ...]:
    """Return the names of the languages there is a stemmer for."""
    return tuple(sorted(Stemmer.algorithms()))


class Analysis(NamedTuple):
    """How the texts of a namespace are analysed.

    language: one of `languages()`, or "" for none: no stemming, no stop words; stemming: whether forms of a word are
    one term; stop_words: whether words that say nothing are left out.
    """

    language: str = "english"
    stemming: bool = True
    stop_words: bool = True

    def check(self) -> Analysis:
        """Return itself; raises InvalidArgument for a language that is not known."""
        if self.language and self.language not in languages():
            raise errors.InvalidArgument(
                f"there is no language {self.language[:40]!r}; there are {', '.join(languages())}", field="language"
            )
        return self


DEFAULT_ANALYSIS: Final = Analysis()


class Span(NamedTuple):
    """Part of a text: text[begin:end]."""

    begin: int
    end: int


def _class_of(char: str) -> int:
    code = ord(char)
    category = unicodedata.category(char)
    if category[0] in "LMN" and any(low <= code <= high for low, high in _UNSPACED):
        return CLASSES["unspaced"]
    name = _CLASS_OF_CATEGORY.get(category) or _CLASS_OF_CATEGORY.get(category[0], "separator")
    return CLASSES[name]


class _Words:
    """Resolves a word to its term."""

    def __init__(self, analysis: Analysis) -> None:
        self._stop_words = STOP_WORDS.get(analysis.language, frozenset()) if analysis.stop_words else frozenset()
        stems = analysis.stemming and analysis.language
        self._stemmer = Stemmer.Stemmer(analysis.language, 0) if stems else None
        self._is_english = analysis.language == "english"

    def resolve(self, word: str) -> bytes | None:
        """Return the term, or None if the word is not one."""
        normal = unicodedata.normalize("NFKC", word).casefold().replace("\u2019", "'")
        if normal in self._stop_words:
            return None
        if self._is_english:
            normal = normal.removesuffix("'s")
        if self._stemmer is not None and not _holds_surrogates(normal):
            normal = self._stemmer.stemWord(normal) or normal
        return normal.encode("utf-8", "surrogatepass")[:_TERM_BYTES_MAX] or None


def _holds_surrogates(word: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in word)


class Analyser:
    """The analysis at work, on any thread."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis.check()
        self._words = self._new_words()

    def _new_words(self) -> TextAnalysis:
        joins = self._analysis.language in _JOINS_APOSTROPHE
        resolve = _Words(self._analysis).resolve
        return TextAnalysis(resolve, _class_of, joins, _WORDS_REMEMBERED_MAX, WORD_CHARS_MAX)

    @property
    def _text(self) -> TextAnalysis:
        if self._words.is_full:
            self._words = self._new_words()  # whoever is at work with the old one has it to itself
        return self._words

    def pack(self, text: str) -> bytes:
        """Return the text's length in terms and each distinct term with its occurrences, as the index takes them."""
        return self._text.pack(text)

    def terms(self, text: str) -> list[bytes]:
        """Return all terms of a text, in order, repeated ones too."""
        return [term for _, _, term in self._text.spans(text)]

    def query(self, text: str) -> list[bytes]:
        """Return the distinct terms of a query, in order."""
        return list(dict.fromkeys(self.terms(text)))

    def highlights(self, query: str, text: str) -> list[Span]:
        """Return where the text has terms of the query: in order, without overlap."""
        wanted = set(self.terms(query))
        found: list[Span] = []
        for begin, end, term in self._text.spans(text):
            if term not in wanted:
                continue
            if found and begin < found[-1].end:
                found[-1] = Span(found[-1].begin, max(end, found[-1].end))
            else:
                found.append(Span(begin, end))
        return found


@cache
def analyser(analysis: Analysis) -> Analyser:
    """Return the one analyser for an analysis. Raises InvalidArgument."""
    return Analyser(analysis)
