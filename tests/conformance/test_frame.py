"""The frame itself: foreign code is fetched whole, loaded with ours in its place, and every exception is named."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from support.foreign import cases, load, stand_in

FOREIGN: Final = """
import pytest
from theirs import Thing

@pytest.fixture
def thing():
    return Thing()

def test_thing(thing):
    assert thing.name == "ours"

def _helper():
    pass
"""


def test_a_foreign_file_gets_ours_in_place_of_theirs(tmp_path: Path) -> None:
    class Thing:
        name = "ours"

    path = tmp_path / "test_theirs.py"
    path.write_text(FOREIGN)
    found = cases(load(path, replacing={"theirs": stand_in("theirs", Thing=Thing)}))
    assert set(found) == {"Thing", "thing", "test_thing"}
    found["test_thing"](Thing())
    with pytest.raises(ModuleNotFoundError):
        load(path)
