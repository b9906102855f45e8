"""A view in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from recollectd.storage.keywords.options import Put
from recollectd.storage.keywords.view import Keywords, open_keywords


class Filled:
    """A view of one scope and the documents put into it, which the brute force searches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.view: Keywords = open_keywords(folder)
        self.documents: dict[bytes, tuple[str | None, ...]] = {}

    def put(self, texts: Iterable[str], scope: bytes = b"s", prefix: str = "m") -> None:
        for number, text in enumerate(texts):
            name = f"{prefix}{number}".encode()
            self.view.apply(self.view.applied_seq + 1, [Put(scope, name, (text, None))])
            self.documents[name] = (text, None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keywords"


@pytest.fixture
def filled(folder: Path) -> Filled:
    return Filled(folder)
