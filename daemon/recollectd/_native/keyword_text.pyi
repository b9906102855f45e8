"""Text to packed terms. What a word's term is, is asked of `resolve` once and remembered."""

from collections.abc import Callable
from typing import final

CLASSES: dict[str, int]
"""The classes of characters: "separator", "word", "mark", "unspaced", "symbol"."""

@final
class TextAnalysis:
    def __new__(
        cls,
        resolve: Callable[[str], bytes | None],
        classify: Callable[[str], int],
        joins_apostrophe: bool,
        words_max: int,
        word_chars_max: int,
    ) -> TextAnalysis:
        """resolve: word -> term, or None for a word that is none; classify: character -> a value of CLASSES;
        joins_apostrophe: whether one between two letters belongs to the word; words_max: from how many words on
        it is full; word_chars_max: how much of a word is looked at."""

    @property
    def is_full(self) -> bool:
        """Whether it remembers so many words that a new one should take its place."""

    def pack(self, text: str) -> bytes:
        """Return the count of terms, then for each distinct one its bytes' count, bytes and occurrences (varints)."""

    def spans(self, text: str) -> list[tuple[int, int, bytes]]:
        """Return (begin, end, term) of every word that has one, in order; a pair of unspaced characters follows its
        first one."""
