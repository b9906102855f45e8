"""Views that were lost or damaged are made anew from the records, however little still says what had changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from memory.asking import NS, add, memory, space, vector
from memory.followed import Followed
from recollectd.memory.memories.view_options import ViewOptions
from recollectd.protocol import errors
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.search_settings import SearchConfigure
from recollectd.protocol.messages.vector_spaces import SpaceDrop
from recollectd.storage.keyspace import namespace_bytes
from support.waiting import until

NAMES = [f"m{number}" for number in range(5)]


def damage(folder: Path, how: str) -> None:
    if how == "gone":
        shutil.rmtree(folder)
    else:
        manifest = folder / "MANIFEST"
        content = bytearray(manifest.read_bytes())
        content[len(content) // 2] ^= 0xFF
        manifest.write_bytes(content)


@pytest.mark.parametrize("view", ["keywords", "vectors"])
@pytest.mark.parametrize("how", ["altered", "gone"])
@pytest.mark.parametrize("after", ["nothing", "a change", "another space"])
def test_a_lost_view_is_whole_again(tmp_path: Path, view: str, how: str, after: str) -> None:
    followed = Followed(tmp_path)
    followed.write(space("mini"), add(*(memory("tea", name, vectors={"mini": vector(1.0, 0.5)}) for name in NAMES)))
    followed.trim()
    wanted = set(NAMES)
    if after != "nothing":
        followed.write(messages.MemoryDelete(NS, NAMES[0]))
        wanted.discard(NAMES[0])
    if after == "another space":
        followed.write(space("late"), add(memory("tea", "last", vectors={"late": vector(0.1, 1.0)})))
    followed.views.close()
    damage(tmp_path / view, how)
    followed.views = followed.open()
    last = {"last"} if after == "another space" else set()
    for _ in range(2):
        assert followed.search(text="tea", mode="keyword") == wanted | last
        assert followed.search(vectors={"mini": vector(1.0, 0.5)}) == wanted
        if last:
            assert followed.search(vectors={"late": vector(1.0, 0.5)}) == last
        followed.reopen()


def test_what_a_change_of_settings_makes_out_of_date_is_named_at_once(tmp_path: Path) -> None:
    followed = Followed(tmp_path)
    followed.write(add(memory("Haus", "a")))
    named: list[bytes | None] = []
    followed.views.on_outdated = lambda: named.append(followed.views.pending())
    followed.write(SearchConfigure(NS, accesses=True))
    assert named == []
    followed.write(SearchConfigure(NS, language="german"))
    assert named == [namespace_bytes(NS)]
    with pytest.raises(errors.Busy):
        followed.search(text="Haus")
    followed.reopen()
    assert followed.views.pending() == namespace_bytes(NS)
    followed.views.close()


@pytest.mark.parametrize("how", ["whole", "damaged"])
def test_a_space_made_again_since_the_vectors_were_written_is_the_new_one(tmp_path: Path, how: str) -> None:
    """Keywords are further behind, so commits are told again that the vector view knows: by what is there now."""
    followed = Followed(tmp_path)
    followed.store.write(space("mini"))
    followed.store.write(add(*(memory("tea", f"{n}", vectors={"mini": vector(1.0, 0.5)}) for n in range(300))))
    followed.follow()
    followed.views.vectors.checkpoint()
    followed.write(SpaceDrop(NS, "mini"), space("mini"), add(memory("tea", "new", vectors={"mini": vector(0.5, 1.0)})))
    assert followed.views.keywords.durable_seq < followed.views.vectors.durable_seq
    followed.views.close()
    if how == "damaged":
        (dump,) = (tmp_path / "vectors" / "dumps").iterdir()
        dump.write_bytes(dump.read_bytes()[:-1] + b"?")
    followed.views = followed.open()
    for _ in range(2):
        assert followed.search(vectors={"mini": vector(1.0, 0.5)}) == {"new"}
        assert followed.views.vectors.count(namespace_bytes(NS), "mini") == 1
        followed.reopen()
    followed.views.close()


def test_little_must_be_told_again(tmp_path: Path) -> None:
    followed = Followed(tmp_path, ViewOptions(0, unsaved_changes_max=6))
    followed.write(space("mini"), add(*(memory("tea", name, vectors={"mini": vector(1.0, 0.5)}) for name in NAMES[:4])))
    assert followed.views.status()["unsaved_changes"] == 5
    followed.views.start()
    assert followed.views.durable_seq == 0, "what is less is left to the checkpoints of the records"
    followed.store.write(add(memory("tea", NAMES[4], vectors={"mini": vector(1.0, 0.5)})))
    followed.note()
    until(lambda: followed.views.durable_seq == followed.store.position)
    assert followed.views.status()["unsaved_changes"] == 0
    followed.views.close()


def test_what_cannot_be_made_durable_is_still_unsaved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> int:
        raise OSError(28, "No space left on device")

    followed = Followed(tmp_path, ViewOptions(0, unsaved_changes_max=1))
    followed.write(space("mini"))
    with monkeypatch.context() as patched:
        patched.setattr(followed.views.vectors, "checkpoint", full)
        followed.views.checkpoint()
        assert followed.views.status()["unsaved_changes"] == 1
    followed.views.checkpoint()
    assert followed.views.status()["unsaved_changes"] == 0
    followed.views.close()
