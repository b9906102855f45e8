"""A damaged file is found before it is mapped, reported, and rebuilt from the records; it never ends the process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recollectd.storage.vectors.changes import Create, Delete
from recollectd.storage.vectors.errors import SpaceRebuilding, SpaceUnknown
from recollectd.storage.vectors.spec import Spec
from support.vectors import Journaled, random_vectors

SOUND = (b"s", "sound")
HIT = (b"s", "hit")
DIMENSIONS = 8


@pytest.fixture
def journaled(tmp_path: Path) -> Journaled:
    """Two spaces with a segment, dead rows and a delta each; everything durable."""
    rng = np.random.default_rng(1)
    made = Journaled(tmp_path / "view")
    for key in (SOUND, HIT):
        made.commit(Create(*key, Spec(DIMENSIONS)))
        made.put(key, random_vectors(rng, 30, DIMENSIONS))
        made.view.merge(*key)
        made.put(key, random_vectors(rng, 3, DIMENSIONS, "small"))
        made.delete(key, [b"r1", b"r2"])
        made.view.merge(*key)  # a second segment; the first has dead rows now
        assert len(made.view._spaces[key].segments) == 2
        made.view.checkpoint()
    made.put(HIT, random_vectors(rng, 2, DIMENSIONS, "late"))
    made.view.checkpoint()
    return made


def files_of(journaled: Journaled) -> dict[str, Path]:
    """Return one file of each sort that only HIT has anything in."""
    space = journaled.view._spaces[HIT]
    base = space.segments[0]
    number = journaled.view._durability.manifest.dumps[-1].number
    return {
        "rows": base.folder / "rows",
        "ids": base.folder / "ids",
        "graph": base.folder / "graph",
        "dead": base.folder / base.entry.dead,
        "dump": journaled.folder / "dumps" / str(number),
    }


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("sort", ["rows", "ids", "graph", "dead", "dump"])
@pytest.mark.parametrize("how", ["first", "middle", "last", "short", "gone", "long"])
def test_damage_is_found_reported_and_rebuilt(journaled: Journaled, sort: str, how: str) -> None:
    path = files_of(journaled)[sort]
    length = path.stat().st_size
    match how:
        case "short":
            path.write_bytes(path.read_bytes()[:-1])
        case "long":
            path.write_bytes(path.read_bytes() + b"\0")
        case "gone":
            path.unlink()
        case _:
            flip(path, {"first": 0, "middle": length // 2, "last": length - 1}[how])
    journaled.reopen()
    view = journaled.view
    assert [(scope, space) for scope, space, _ in view.damaged()] == [HIT]
    assert path.name in view.damaged()[0][2]
    query = np.ones(DIMENSIONS, np.float32)
    journaled.check(SOUND, query, 10)
    with pytest.raises(SpaceRebuilding, match="hit"):
        view.search(*HIT, query, 3)
    view.rebuild(*HIT, iter(list(journaled.records[HIT].items())))
    journaled.check_all()
    view.checkpoint()
    journaled.reopen()
    journaled.check_all()


def test_a_rebuild_that_is_not_checkpointed_is_asked_for_again(journaled: Journaled) -> None:
    flip(files_of(journaled)["rows"], 5)
    journaled.reopen()
    journaled.view.rebuild(*HIT, iter(list(journaled.records[HIT].items())))
    journaled.view.merge(*HIT)
    journaled.reopen()
    assert [(scope, space) for scope, space, _ in journaled.view.damaged()] == [HIT]


def test_a_merge_behind_a_rebuild_to_a_later_state_loses_nothing(journaled: Journaled) -> None:
    """Records may be newer than what the view as a whole has been told of."""
    flip(files_of(journaled)["rows"], 5)
    journaled.reopen()
    later = journaled.view.applied_seq + 100
    journaled.view.rebuild(*HIT, iter(list(journaled.records[HIT].items())), later)
    journaled.view.merge(*HIT)
    assert journaled.view.count(*HIT) == len(journaled.records[HIT])
    journaled.check_all()


def test_changes_that_come_while_it_waits_are_in_what_is_rebuilt(journaled: Journaled) -> None:
    flip(files_of(journaled)["graph"], 5)
    journaled.reopen()
    journaled.put(HIT, random_vectors(np.random.default_rng(9), 4, DIMENSIONS, "waiting"))
    journaled.delete(HIT, [b"r5"])
    journaled.view.checkpoint()
    journaled.reopen()
    journaled.view.rebuild(*HIT, iter(list(journaled.records[HIT].items())))
    journaled.check_all()


@pytest.mark.parametrize("how", ["flip", "gone", "short"])
def test_without_its_manifest_everything_is_rebuilt(journaled: Journaled, how: str) -> None:
    path = journaled.folder / "MANIFEST"
    match how:
        case "flip":
            flip(path, 60)
        case "gone":
            path.unlink()
        case "short":
            path.write_bytes(path.read_bytes()[:20])
    view = journaled.view = journaled.open()
    assert "MANIFEST" in view.lost
    assert view.durable_seq == 0
    assert view.spaces() == {}
    seq = len(journaled.journal)
    for key, spec in journaled.specs.items():
        view.expect(*key, spec, seq)
    with pytest.raises(SpaceRebuilding, match="lost"):
        view.count(*HIT)
    for key, records in journaled.records.items():
        view.rebuild(*key, iter(list(records.items())), seq)
    journaled.check_all()
    view.checkpoint()
    journaled.reopen()
    assert journaled.view.lost == ""
    journaled.check_all()


def test_what_nobody_names_is_removed(journaled: Journaled) -> None:
    stranger = journaled.folder / "segments" / "999"
    stranger.mkdir()
    (stranger / "rows").write_bytes(b"of a merge that was killed")
    (journaled.folder / "dumps" / "998").write_bytes(b"of a checkpoint that was killed")
    journaled.reopen()
    assert not stranger.exists()
    assert not (journaled.folder / "dumps" / "998").exists()
    journaled.check_all()


def test_a_space_there_is_none_of(journaled: Journaled) -> None:
    with pytest.raises(SpaceUnknown, match="none"):
        journaled.view.search(b"s", "none", np.ones(DIMENSIONS, np.float32), 1)
    journaled.view.apply(len(journaled.journal) + 1, [Delete(b"s", "none", b"x")])
    assert journaled.view.statistics()["passed_over_changes"] == 1
