"""Memories moved out and in with their vectors in a file of numpy's, over real daemons."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.test_with_daemon import lines_of, run
from recollectd.cli.transfer import exporting_memories
from recollectd.cli.transfer.exporting import Page, Place, export_pages
from recollectd.cli.transfer.files import write_pages
from recollectd.cli.transfer.separate_vectors import array_name, array_subject
from recollectd.cli.transfer.writing_vectors import VectorsOut
from recollectd.client import Client, NewMemory
from recollectd.testing import Daemon
from support.journal_images import until

Arrays = dict[str, Any]

OF_STORE = ("version", "created_at", "updated_at", "exported_at", "forgotten_at", "superseded_at")
MANY = 4_000


def fill(daemon: Daemon) -> None:
    """Two namespaces, two spaces in each, one with other dimensions; memories with both vectors, one, and none."""
    with daemon.client() as default:
        for labels, wide in ((("default",), 3), (("a/b", "c%"), 4)):
            client = default.with_namespace(*labels)
            client.vector_spaces.create("mini", 2)
            client.vector_spaces.create("wide", wide)
            client.vector_spaces.create("unused", 5)
            client.vector_spaces.alias("current", "mini")
            vectors = [{"mini": [0.1, n], "wide": [(n + 1) / 3] * wide} for n in range(5)]
            memories = [NewMemory(f"text {n}", f"m{n}", conversation_id="c", vectors=vectors[n]) for n in range(5)]
            client.memories.add_many(
                [*memories, NewMemory("half", "half", vectors={"wide": [1.0] * wide}), NewMemory("none", "none")]
            )
            client.memories.supersede("m0", "m1")


def float32(numbers: Any) -> Any:
    return np.array(numbers, dtype=np.float32)


def arrays(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def rewritten(path: Path, **changed: Any) -> None:
    """Write a file anew with other arrays; None takes one away. Names come with | for /."""
    content = arrays(path) | {name.replace("|", "/"): array for name, array in changed.items()}
    np.savez(path, allow_pickle=True, **{name: array for name, array in content.items() if array is not None})


def given(path: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name not in OF_STORE} for line in lines_of(path)]


@pytest.fixture
def moved(recollectd_daemon: Daemon, tmp_path: Path) -> tuple[Path, Path]:
    """An export's two files."""
    fill(recollectd_daemon)
    lines, vectors = tmp_path / "out.jsonl", tmp_path / "out.npz"
    run(recollectd_daemon, "export", lines, "--vectors", vectors)
    return lines, vectors


@pytest.fixture
def other() -> Iterator[Daemon]:
    with Daemon() as daemon:
        yield daemon


def failing(daemon: Daemon, *arguments: object, code: int = 65) -> str:
    """Run a command that fails and return what it says."""
    words = [sys.executable, "-m", "recollectd", *map(str, arguments), "--url", daemon.url]
    ended = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr
    return ended.stderr


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **more}


# -- there and back --------------------------------------------------------------------------------------------------


def test_arrays_hold_what_the_lines_do_not(recollectd_daemon: Daemon, tmp_path: Path) -> None:
    fill(recollectd_daemon)
    lines, vectors = tmp_path / "out.jsonl", tmp_path / "out.npz"
    told = json.loads(run(recollectd_daemon, "export", lines, "--vectors", vectors, "--json"))
    assert told == {"records": 22, "file": str(lines), "vectors": 22, "vectors_file": str(vectors)}
    assert not [line for line in lines_of(lines) if "vectors" in line]
    found = arrays(vectors)
    spaces = [f"{namespace}/{space}" for namespace in ("a%2Fb/c%25", "default") for space in ("mini", "unused", "wide")]
    assert set(found) == {"format", *(f"{each}/{what}" for each in spaces for what in ("vectors", "memory_ids"))}
    assert found["default/wide/memory_ids"].tolist() == ["half", "m0", "m1", "m2", "m3", "m4"]
    assert found["a%2Fb/c%25/wide/vectors"].shape == (6, 4)
    assert found["default/mini/vectors"].dtype == np.float32
    assert np.array_equal(found["default/mini/vectors"][3], float32([0.1, 3]))
    assert found["default/unused/vectors"].shape == (0, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.npz"]


def test_an_export_comes_back_as_it_was(moved: tuple[Path, Path], other: Daemon, tmp_path: Path) -> None:
    lines, vectors = moved
    again, vectors_again = tmp_path / "again.jsonl", tmp_path / "again.npz"
    first = json.loads(run(other, "import", lines, "--vectors", vectors, "--json"))
    assert (first["added"]["memory"], first["added"]["vector"]) == (14, 22)
    second = json.loads(run(other, "import", lines, "--vectors", vectors, "--json"))
    assert second["added"].get("memory", 0) == 0
    assert second["added"].get("vector", 0) == 0
    assert (second["there_already"]["memory"], second["there_already"]["vector"]) == (14, 22)
    run(other, "export", again, "--vectors", vectors_again)
    assert given(again) == given(lines)
    assert vectors_again.read_bytes() == vectors.read_bytes()
    with other.client() as client:
        hits = client.with_namespace("a/b", "c%").memories.search(vectors={"wide": [1.0] * 4}).hits
        assert hits


def test_compressed_arrays_without_a_namespace_are_of_the_imports(other: Daemon, tmp_path: Path) -> None:
    lines, vectors = tmp_path / "own.jsonl", tmp_path / "own.npz"
    space = {"kind": "vector_space", "name": "mini", "dimensions": 2}
    memories = [{"kind": "memory", "memory_id": name, "text": name} for name in ("a", "b")]
    lines.write_text("".join(json.dumps(line) + "\n" for line in (space, *memories)))
    content: Arrays = {
        "mini/vectors": np.asfortranarray(float32([[1, 2], [3, 4]])),
        "mini/memory_ids": np.array(["b", "a"]),
    }
    np.savez_compressed(vectors, **content)
    text = run(other, "import", lines, "--vectors", vectors, "-n", "mine")
    assert "2 memories, 2 vectors" in text
    with other.client() as client:
        found = client.with_namespace("mine").memories.get_many(["a", "b"], vectors=True)
    assert [found[name].vectors for name in "ab"] == [{"mini": [3.0, 4.0]}, {"mini": [1.0, 2.0]}]
    np.savez(vectors, **content)
    run(other, "import", lines, "--vectors", vectors, "-n", "theirs")
    with other.client() as client:
        again = client.with_namespace("theirs").memories.get_many(["a", "b"], vectors=True)
    assert {name: each.vectors for name, each in again.items()} == {name: each.vectors for name, each in found.items()}


@pytest.mark.parametrize("labels", [("a",), ("a/b", "%2F", "%"), ("\0", "%00", "vectors")])
def test_names_of_arrays_say_what_they_hold(labels: tuple[str, ...]) -> None:
    name = array_name(labels, "s/%", "vectors")
    assert "\0" not in name
    assert array_subject(name) == (labels, "s/%", "vectors")
    assert array_subject("vectors") is None
    assert array_subject("a//vectors") is None


# -- interruptions ---------------------------------------------------------------------------------------------------


class Cut(Exception):
    """The export's process is gone."""


def test_an_export_cut_off_anywhere_goes_on(
    recollectd_daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(recollectd_daemon)
    monkeypatch.setattr(exporting_memories, "PAGE_MEMORIES", 2)
    lines, vectors, whole = tmp_path / "out.jsonl", tmp_path / "out.npz", tmp_path / "whole.npz"
    run(recollectd_daemon, "export", tmp_path / "whole.jsonl", "--vectors", whole)
    with recollectd_daemon.client() as client:

        def pages(at: Place | None) -> Iterator[Page]:
            for number, page in enumerate(export_pages(client, at=at, vectors_aside=True)):
                if number == cut:
                    raise Cut
                yield page

        cut = -1
        total = len(list(pages(None)))
        assert total > 12
        for cut in range(total):
            with pytest.raises(Cut):
                write_pages(lines, "s", pages, resume=False, aside=VectorsOut(vectors))
            assert not lines.exists()
            with open(tmp_path / "out.npz.rows", "ab") as rows:
                rows.write(b"what was being written")
            stopped, cut = cut, 99
            write_pages(lines, "s", pages, resume=True, aside=VectorsOut(vectors))
            assert vectors.read_bytes() == whole.read_bytes(), stopped
            assert given(lines) == given(tmp_path / "whole.jsonl"), stopped
            lines.unlink()
            vectors.unlink()
            assert sorted(path.name for path in tmp_path.iterdir()) == ["whole.jsonl", "whole.npz"]


def test_what_is_there_of_an_export_is_not_lost_by_another(moved: tuple[Path, Path], recollectd_daemon: Daemon) -> None:
    lines, vectors = moved
    before = vectors.read_bytes()
    assert "out.npz is there already" in failing(
        recollectd_daemon, "export", lines.with_name("new.jsonl"), "--vectors", vectors, code=73
    )
    assert vectors.read_bytes() == before
    run(recollectd_daemon, "export", lines, "--vectors", vectors, "--force")
    assert vectors.read_bytes() == before
    # Ended between the last two renamings: the vectors are whole, the lines are not yet.
    lines.rename(lines.with_name("out.jsonl.partial"))
    vectors.with_name("out.npz.rows").touch()
    run(recollectd_daemon, "export", lines, "--vectors", vectors, "--resume")
    assert vectors.read_bytes() == before


@pytest.fixture
def large(tmp_path: Path) -> tuple[Path, Path]:
    """Files of more memories than an import stores at once."""
    lines, vectors = tmp_path / "large.jsonl", tmp_path / "large.npz"
    space = {"kind": "vector_space", "name": "mini", "dimensions": 8}
    memories = [{"kind": "memory", "memory_id": f"m{n}", "text": f"text {n}"} for n in range(MANY)]
    lines.write_text("".join(json.dumps(line) + "\n" for line in (space, *memories)))
    rows = np.arange(MANY * 8, dtype=np.float32).reshape(MANY, 8)
    content: Arrays = {"mini/vectors": rows, "mini/memory_ids": np.array([f"m{n}" for n in range(MANY)])}
    np.savez(vectors, **content)
    return lines, vectors


def importing(daemon: Daemon, lines: Path, vectors: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "recollectd", "import", str(lines), "--vectors", str(vectors), "--url", daemon.url]
    return subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE)


def stored(daemon: Daemon) -> int:
    with Client(daemon.url) as client:
        return client.memories.count()


def check_large(daemon: Daemon, vectors: Path, tmp_path: Path) -> None:
    run(daemon, "export", tmp_path / "back.jsonl", "--vectors", tmp_path / "back.npz")
    back, there = arrays(tmp_path / "back.npz"), arrays(vectors)
    order = np.argsort(there["mini/memory_ids"])
    assert np.array_equal(back["default/mini/memory_ids"], there["mini/memory_ids"][order])
    assert np.array_equal(back["default/mini/vectors"], there["mini/vectors"][order])


def test_an_import_that_is_killed(recollectd_daemon: Daemon, large: tuple[Path, Path], tmp_path: Path) -> None:
    with importing(recollectd_daemon, *large) as process:
        until(lambda: stored(recollectd_daemon) > 0)
        process.send_signal(signal.SIGKILL)
    report = json.loads(run(recollectd_daemon, "import", large[0], "--vectors", large[1], "--json"))
    assert report["there_already"]["memory"] > 0
    for kind in ("memory", "vector"):
        assert report["there_already"][kind] + report["added"].get(kind, 0) == MANY
    check_large(recollectd_daemon, large[1], tmp_path)


def test_an_import_whose_daemon_is_killed(recollectd_daemon: Daemon, large: tuple[Path, Path], tmp_path: Path) -> None:
    with importing(recollectd_daemon, *large) as process:
        until(lambda: stored(recollectd_daemon) > 0)
        recollectd_daemon.kill()
        recollectd_daemon.start()
        assert process.wait(60) == 0
    check_large(recollectd_daemon, large[1], tmp_path)


# -- what does not fit -----------------------------------------------------------------------------------------------

NAN = np.full((6, 3), 1, np.float32)
NAN[4, 1] = np.nan
IDS = np.array(["half", "m0", "m1", "m2", "m3", "m4"])


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("default|wide|vectors", NAN, "default/wide/vectors: row 4 has a number that is NaN or infinite"),
        ("default|wide|vectors", np.float64(NAN), "default/wide/vectors: must be float32 of rows and dimensions"),
        ("default|wide|vectors", np.ones(6, np.float32), "default/wide/vectors: must be float32 of rows"),
        ("default|wide|vectors", np.array([{}] * 6), "default/wide/vectors: holds pickled objects"),
        ("default|wide|vectors", None, "default/wide/memory_ids: there are no vectors beside it"),
        ("default|wide|memory_ids", IDS.astype(object), "default/wide/memory_ids: holds pickled objects"),
        ("default|wide|memory_ids", np.arange(6), "default/wide/memory_ids: must be text, 6 of them, not int64"),
        ("default|wide|memory_ids", IDS[:5], "default/wide/memory_ids: must be text, 6 of them"),
        ("default|wide|memory_ids", IDS[[0, 1, 2, 3, 4, 1]], "default/wide/memory_ids: 'm0' is there twice"),
        ("default|wide|memory_ids", None, "default/wide/vectors: there is no default/wide/memory_ids beside it"),
        ("wide|vectors", np.ones((6, 3), np.float32), "wide/vectors: the space has two arrays"),
        ("others", np.arange(3), "others: no name of an array that belongs here"),
        ("format", np.int64(2), "format: this version reads up to 1"),
    ],
)
def test_a_file_that_does_not_fit_stores_nothing(
    moved: tuple[Path, Path], other: Daemon, name: str, array: Any, said: str
) -> None:
    lines, vectors = moved
    extra = {"wide|memory_ids": IDS} if name == "wide|vectors" else {}
    rewritten(vectors, **{name: array}, **extra)
    error = failing(other, "import", lines, "--vectors", vectors)
    assert str(vectors) in error
    assert said in error
    with other.client() as client:
        assert list(client.namespaces()) == []


def test_damage_is_found_before_anything_is_stored(moved: tuple[Path, Path], other: Daemon) -> None:
    lines, vectors = moved
    whole = vectors.read_bytes()
    row = float32([1 / 3] * 4).tobytes()
    assert whole.count(row) == 1
    vectors.write_bytes(whole.replace(row, float32([2 / 3] * 4).tobytes()))
    error = failing(other, "import", lines, "--vectors", vectors)
    assert "out.npz: a%2Fb/c%25/wide/vectors: damaged, its checksum is wrong" in error
    for content in (whole[: len(whole) // 2], b"", b"no zip at all"):
        vectors.write_bytes(content)
        assert "out.npz is damaged, or no .npz file" in failing(other, "import", lines, "--vectors", vectors)
    vectors.unlink()
    assert "out.npz" in failing(other, "import", lines, "--vectors", vectors, code=66)
    assert stored(other) == 0


def test_another_number_of_dimensions(moved: tuple[Path, Path], other: Daemon) -> None:
    lines, vectors = moved
    rewritten(vectors, **{"default|wide|vectors": np.ones((6, 7), np.float32)})
    said = "out.npz: default/wide/vectors: rows have 7 numbers; the space has 3"
    of_lines = failing(other, "import", lines, "--vectors", vectors)
    assert said in of_lines
    assert "line " in of_lines
    with other.client() as client:
        client.vector_spaces.create("wide", 3)
    assert said in failing(other, "import", lines, "--vectors", vectors)
    without_space = lines.with_name("memories.jsonl")
    without_space.write_bytes(
        b"".join(line for line in lines.read_bytes().splitlines(True) if b'"vector_space"' not in line)
    )
    rewritten(vectors, **{"default|wide|vectors": np.ones((6, 3), np.float32)})
    with Daemon() as empty:
        error = failing(empty, "import", without_space, "--vectors", vectors)
    assert "out.npz: a%2Fb/c%25/wide/vectors: there is no vector space 'wide'" in error


def test_a_row_without_a_line(moved: tuple[Path, Path], other: Daemon) -> None:
    lines, vectors = moved
    ids = np.array(["half", "m0", "stranger", "m2", "m3", "m4"])
    rewritten(vectors, **{"default|wide|memory_ids": ids})
    error = failing(other, "import", lines, "--vectors", vectors)
    assert "out.npz: default/wide/vectors: row 2 is of memory 'stranger', which no line is of (1 such rows)" in error
    assert "the lines are stored" in error
    assert stored(other) > 0


def test_a_line_with_a_vector_of_its_own(moved: tuple[Path, Path], other: Daemon) -> None:
    lines, vectors = moved
    whole = lines.read_bytes()
    memory = b'"memory_id":"half",'
    assert whole.count(memory) == 2
    lines.write_bytes(whole.replace(memory, memory + b'"vectors":{"mini":[7,8],"wide":[1,1,1,2]},', 1))
    error = failing(other, "import", lines, "--vectors", vectors)
    assert "out.npz: a%2Fb/c%25/wide/vectors: row 0 is another vector than the line's" in error
    lines.write_bytes(whole.replace(memory, memory + b'"vectors":{"mini":[7,8],"wide":[1,1,1,1]},', 1))
    run(other, "import", lines, "--vectors", vectors)
    with other.client() as client:
        found = client.with_namespace("a/b", "c%").memories.get("half", vectors=True)
    assert found is not None
    assert found.vectors == {"mini": [7.0, 8.0], "wide": [1.0] * 4}


def test_what_does_not_go_together(recollectd_daemon: Daemon, tmp_path: Path) -> None:
    lines, vectors = tmp_path / "x.jsonl", tmp_path / "x.npz"
    mapped = ("--as", "log", "--map", "log_id==l1")
    lines.touch()
    for words in (
        ("export", "-", "--vectors", vectors),
        ("export", vectors, "--vectors", vectors),
        ("export", lines, "--vectors", vectors, "--kind", "log"),
        ("export", lines, "--vectors", vectors, *mapped),
        ("import", lines, "--vectors", vectors, *mapped),
    ):
        assert "--vectors" in failing(recollectd_daemon, *words, code=64)
    assert not vectors.exists()


def test_without_numpy_one_sentence_says_what_to_install(recollectd_daemon: Daemon, tmp_path: Path) -> None:
    lines, vectors = tmp_path / "x.jsonl", tmp_path / "x.npz"
    program = (
        "import sys; sys.modules['numpy'] = None; from recollectd.cli.main import main; "
        f"sys.argv = ['recollectd', sys.argv[1], {str(lines)!r}, '--vectors', {str(vectors)!r}, "
        f"'--url', {recollectd_daemon.url!r}]; sys.exit(main())"
    )
    for command in ("export", "import"):
        lines.touch() if command == "import" else lines.unlink(missing_ok=True)
        words = [sys.executable, "-c", program, command]
        ended = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
        assert ended.returncode == 69, ended.stderr
        assert "--vectors needs the package numpy, which is not installed" in ended.stderr
        assert "pip install 'recollectd[daemon]'" in ended.stderr
        assert not vectors.exists()
