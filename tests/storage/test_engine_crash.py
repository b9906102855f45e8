"""What is on the disk after a kill, an end without close, a full disk, a failing disk and a damaged file."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sysconfig
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from recollectd.storage.engine import Engine, EngineCorrupt, EngineError
from recollectd.storage.engine_options import EngineOptions
from recollectd.storage.keyspace import PUT, Family
from support.engines import MIB, OPTIONS, OpenEngine, Start

# Writes batch after batch, each with one row of a size of its own in every family, while another thread flushes.
# Says what it has written and what is durable.
WRITER = """
    import random, sys, threading
    from pathlib import Path
    from recollectd.storage.engine import Engine, EngineStalled
    from recollectd.storage.engine_options import EngineOptions
    from recollectd.storage.keyspace import PUT, Family

    path, seed, flushes = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "flushes"
    chance = random.Random(seed)
    memtable_bytes = chance.choice((1, 2, 8)) << 20
    engine = Engine.open(path, EngineOptions(16 << 20, memtable_bytes), create=not path.exists())
    out = threading.Lock()

    def say(word, number):
        with out:
            print(word, number, flush=True)

    def flush():
        while True:
            say("flushing", engine.applied_seq)
            say("durable", engine.flush())

    if chance.random() < 0.8 or flushes:
        threading.Thread(target=flush, daemon=True).start()
    seq = engine.applied_seq
    sizes = {family: chance.choice((10, 300, 5000)) for family in Family}
    while True:
        seq += 1
        writes = [(PUT, family, b"%08d" % seq, chance.randbytes(sizes[family])) for family in Family]
        while True:
            try:
                engine.write(writes, seq)
                break
            except EngineStalled:
                pass
        if seq % 20 == 0:
            say("written", seq)
"""


def held_rows(engine: Engine) -> dict[Family, list[bytes]]:
    """Return the numbered keys of each family."""
    return {family: [key for key, _ in engine.walk(family, b"0", b":", keys_max=10_000_000)] for family in Family}


def assert_one_prefix(engine: Engine) -> None:
    """Each family holds exactly the rows of commits 1 to applied_seq."""
    expected = [b"%08d" % seq for seq in range(1, engine.applied_seq + 1)]
    for family, keys in held_rows(engine).items():
        assert keys == expected, f"{family.name} has {len(keys)} rows at {engine.applied_seq}"


def test_a_kill_leaves_one_prefix_that_holds_what_was_flushed(
    start: Start, records: Path, open_engine: OpenEngine
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    durable = 0
    for round_seed in range(seed, seed + 8):
        last = round_seed == seed + 7  # something must have been flushed in the end, however slow the machine
        writer = start(WRITER, records, round_seed, "flushes" if last else "perhaps")
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(chance.randrange(1, 60))]
        while last and not durable and not any(line.startswith("durable") for line in said):
            said.append(writer.stdout.readline())
        writer.kill()
        said += writer.stdout.read().splitlines(keepends=True)
        for word, number in (line.split() for line in said if line.endswith("\n")):
            durable = int(number) if word == "durable" else durable
        engine = open_engine()
        assert engine.applied_seq >= durable
        assert_one_prefix(engine)
        engine.close()
    assert durable > 0


def test_flushed_and_killed_at_once(start: Start, records: Path, open_engine: OpenEngine) -> None:
    program = """
        import os, signal, sys
        from pathlib import Path
        from recollectd.storage.engine import Engine
        from recollectd.storage.engine_options import EngineOptions
        from recollectd.storage.keyspace import PUT, Family

        engine = Engine.open(Path(sys.argv[1]), EngineOptions(16 << 20, 4 << 20), create=True)
        for seq in range(1, 101):
            engine.write([(PUT, family, b"%08d" % seq, b"v") for family in Family], seq)
            if seq == 60:
                assert engine.flush() == 60
        os.kill(os.getpid(), signal.SIGKILL)
    """
    start(program, records).wait()
    engine = open_engine()
    assert engine.applied_seq == 60
    assert_one_prefix(engine)


def test_an_end_without_close_is_like_a_kill(start: Start, records: Path, open_engine: OpenEngine) -> None:
    # rocksdict flushes a family when its handle goes away: one after the other, and here nobody asked for it.
    program = """
        import sys
        from pathlib import Path
        from recollectd.storage.engine import Engine
        from recollectd.storage.engine_options import EngineOptions
        from recollectd.storage.keyspace import PUT, Family

        engine = Engine.open(Path(sys.argv[1]), EngineOptions(16 << 20, 4 << 20), create=True)
        engine.write([(PUT, family, b"%08d" % 1, b"v") for family in Family], 1)
        engine.flush()
        engine.write([(PUT, family, b"%08d" % 2, b"v") for family in Family], 2)
        engine = None
    """
    assert start(program, records).wait() == 0
    engine = open_engine()
    assert engine.applied_seq == 1
    assert_one_prefix(engine)


# Writes to table files fail while a file of the name $FULL_WHEN exists, as on a disk without room.
FULL_DISK = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>

    ssize_t write(int file, const void *bytes, size_t count) {
        static ssize_t (*real)(int, const void *, size_t);
        char link[64], name[4096] = "";
        if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        if (readlink(link, name, sizeof name - 1) > 0 && strstr(name, ".sst") && !access(getenv("FULL_WHEN"), F_OK)) {
            errno = ENOSPC;
            return -1;
        }
        return real(file, bytes, count);
    }
"""


@pytest.fixture
def full_disk(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a program whose disk is full while `tmp_path / "full"` exists."""
    (tmp_path / "full.c").write_text(textwrap.dedent(FULL_DISK))
    compiler = sysconfig.get_config_var("CC").split()[0]
    library = tmp_path / "full.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "full.c", "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "FULL_WHEN": str(tmp_path / "full")}


def test_a_flush_on_a_full_disk_fails_and_works_once_there_is_room(
    start: Start, full_disk: dict[str, str], records: Path, open_engine: OpenEngine
) -> None:
    program = """
        import json, os, sys
        from pathlib import Path
        from recollectd.storage.engine import Engine, EngineError, EngineFull
        from recollectd.storage.engine_options import EngineOptions
        from recollectd.storage.keyspace import PUT, Family

        full = Path(os.environ["FULL_WHEN"])
        engine = Engine.open(Path(sys.argv[1]), EngineOptions(16 << 20, 4 << 20), create=True)
        writes = lambda seq: [(PUT, family, b"%08d" % seq, b"v") for family in Family]
        outcomes = []

        def attempt(step, *arguments):
            try:
                outcomes.append(step(*arguments))
            except EngineError as error:
                outcomes.append(type(error).__name__)

        engine.write(writes(1), 1)
        attempt(engine.flush)
        engine.write(writes(2), 2)
        full.touch()
        attempt(engine.flush)
        attempt(engine.flush)
        attempt(engine.write, writes(3), 3)
        outcomes.append(engine.get_many(Family.VALUES, [b"%08d" % 2, b"%08d" % 3]) == [b"v", None])
        full.unlink()
        while True:
            try:
                outcomes.append(engine.flush())
                break
            except EngineFull:
                pass
        engine.write(writes(3), 3)
        attempt(engine.flush)
        full.touch()
        engine.write(writes(4), 4)
        attempt(engine.close)
        print(json.dumps(outcomes))
    """
    process = start(program, records, environment=full_disk)
    output = process.communicate()[0]
    assert json.loads(output) == [1, "EngineFull", "EngineFull", "EngineFull", True, 2, 3, "EngineFull"]
    assert process.returncode == 0
    engine = open_engine()
    assert engine.applied_seq == 3
    assert_one_prefix(engine)


def test_a_flush_that_fails_otherwise_is_fatal_and_leaves_a_prefix(
    start: Start, records: Path, open_engine: OpenEngine
) -> None:
    program = """
        import resource, sys
        from pathlib import Path
        from recollectd.storage.engine import Engine, EngineError, EngineFailed
        from recollectd.storage.engine_options import EngineOptions
        from recollectd.storage.keyspace import PUT, Family

        engine = Engine.open(Path(sys.argv[1]), EngineOptions(16 << 20, 4 << 20), create=True)
        size = {family: 100_000 if family == Family.INDEX else 1 for family in Family}
        writes = lambda seq: [(PUT, family, b"%08d" % seq, bytes(size[family])) for family in Family]
        engine.write(writes(1), 1)
        engine.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        import random
        engine.write([(PUT, family, b"%08d" % 2, random.randbytes(size[family])) for family in Family], 2)
        for step in (engine.flush, lambda: engine.write(writes(3), 3), engine.flush):
            try:
                step()
                print("accepted")
            except EngineFailed as error:
                print("failed", "too large" in str(error))
        engine.close()
    """
    process = start(program, records)
    assert process.communicate()[0].split("\n")[:3] == ["failed True", "failed True", "failed True"]
    engine = open_engine()
    assert engine.applied_seq == 1
    assert_one_prefix(engine)


@pytest.fixture
def damaged(records: Path) -> Path:
    """Return the largest table file of a closed store with 20,000 rows in VALUES."""
    engine = Engine.open(records, OPTIONS, create=True)
    value = random.Random(1).randbytes(100)
    engine.write([(PUT, Family.VALUES, b"%08d" % number, value) for number in range(20_000)], 1)
    engine.compact()
    engine.close()
    return max(records.glob("*.sst"), key=lambda file: file.stat().st_size)


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 0x10
    file.write_bytes(content)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_flipped_bit_is_an_error_and_never_a_short_answer(
    damaged: Path, open_engine: OpenEngine, reverse: bool
) -> None:
    flip(damaged, damaged.stat().st_size // 2)
    engine = open_engine()
    keys = [b"%08d" % number for number in range(20_000)]
    with pytest.raises(EngineCorrupt, match="checksum mismatch"):
        engine.get_many(Family.VALUES, keys)
    with pytest.raises(EngineCorrupt, match="checksum mismatch"):
        engine.walk(Family.VALUES, b"", b"\xff", keys_max=100_000, reverse=reverse)
    far = engine.walk(Family.VALUES, b"", b"\xff", keys_max=10, reverse=reverse)
    assert [key for key, _ in far] == (keys[:-11:-1] if reverse else keys[:10]), "what is not damaged stays readable"


def test_damaged_files_are_named_when_the_store_is_opened(damaged: Path, records: Path, tmp_path: Path) -> None:
    def truncate(file: Path) -> None:
        file.write_bytes(file.read_bytes()[:-100])

    def flip_middle(file: Path) -> None:
        flip(file, file.stat().st_size // 2)

    def empty(file: Path) -> None:
        file.write_bytes(b"")

    manifest = next(records.glob("MANIFEST-*")).name
    cases: list[tuple[str, Callable[[Path], None]]] = [
        (damaged.name, truncate),
        (damaged.name, Path.unlink),
        (manifest, flip_middle),
        (manifest, Path.unlink),
        ("CURRENT", empty),
        ("CURRENT", Path.unlink),
    ]
    for number, (name, damage) in enumerate(cases):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(records, copy)
        damage(copy / name)
        with pytest.raises(EngineCorrupt) as caught:
            Engine.open(copy, OPTIONS)
        assert str(caught.value), name
        assert (copy / damaged.name).exists() or (name, damage) == (damaged.name, Path.unlink)
    # What needs no intact file: the options given are used, not those stored.
    for file in [*records.glob("OPTIONS-*"), records / "rocksdict-config.json"]:
        file.write_bytes(b"garbage")
    engine = Engine.open(records, OPTIONS)
    assert engine.applied_seq == 1
    engine.close()


def test_a_store_of_other_families_is_refused(tmp_path: Path, records: Path) -> None:
    from rocksdict import Options, Rdict

    for names, path in ((["default"], records), (["default", "foreign"], tmp_path / "foreign")):
        options = Options(raw_mode=True)
        options.create_missing_column_families(True)
        Rdict(str(path), options, {name: options for name in names}).close()
        with pytest.raises(EngineError, match="amil"):
            Engine.open(path, EngineOptions(8 * MIB, MIB))
