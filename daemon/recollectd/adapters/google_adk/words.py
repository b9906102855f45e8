"""How well a text answers a query: by the words they share, in any script."""

from __future__ import annotations

import itertools
import re
import unicodedata

_WORD = re.compile(r"\w+")


class Text:
    """A text's words, in lower case.

    Where a script is written without spaces, a Latin word among it counts as a word, and a query's word that is not
    ASCII is looked for anywhere in the text.
    """

    def __init__(self, text: str) -> None:
        normal = unicodedata.normalize("NFC", text)
        self._whole = normal.lower()
        words = set(_WORD.findall(normal))
        parts = {"".join(run) for word in words if not word.isascii() for _, run in itertools.groupby(word, _is_latin)}
        self._words = {word.lower() for word in words | parts}

    def shared(self, query_words: set[str]) -> int:
        """Return how many of a query's words it has."""
        return sum(
            word in self._words or (not word.isascii() and word in self._whole) for word in query_words if self._words
        )


def words_of(query: str) -> set[str]:
    """Return a query's words."""
    return {word.lower() for word in _WORD.findall(unicodedata.normalize("NFC", query))}


def _is_latin(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character == "_"
    return unicodedata.name(character, "").startswith("LATIN")
