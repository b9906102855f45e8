"""Messages of conversations moved out and in with their vectors in a file of numpy's, over real daemons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cli.test_separate_vectors import Arrays, arrays, failing, float32, rewritten
from cli.test_with_daemon import lines_of, run
from recollectd.client import NewMessage
from recollectd.testing import Daemon


@pytest.fixture
def other() -> Iterator[Daemon]:
    with Daemon() as daemon:
        yield daemon


def converse(daemon: Daemon) -> None:
    """Conversations with names that need escaping, and messages with vectors in two spaces, one, and none."""
    with daemon.client() as client:
        client.vector_spaces.create("mini", 2, precision="f32")
        client.vector_spaces.create("wide", 3, precision="f32")
        client.memories.configure_search(messages=True)
        client.memories.add("m", memory_id="m0", vectors={"mini": [5, 5]})
        for name in ("a", "b/%", "c\0"):
            client.conversations.create(name)
            new = [
                NewMessage(
                    "user", f"{name} {n}", f"m{n}", vectors={"mini": [n, 1], **({"wide": [n, 2, 3]} if n % 2 else {})}
                )
                for n in range(6)
            ]
            client.conversations.append_many(name, [*new, NewMessage("user", "none")])


def test_vectors_of_messages_are_arrays_of_their_own_and_come_back(
    recollectd_daemon: Daemon, other: Daemon, tmp_path: Path
) -> None:
    converse(recollectd_daemon)
    lines, vectors = tmp_path / "out.jsonl", tmp_path / "out.npz"
    run(recollectd_daemon, "export", lines, "--vectors", vectors)
    assert not [line for line in lines_of(lines) if "vectors" in line]
    found = arrays(vectors)
    assert found["default/mini/memory_ids"].tolist() == ["m0"]
    assert found["default/wide/message_ids"].tolist() == [
        f"{name}/m{n}" for name in ("a", "b%2F%25", "c%00") for n in (1, 3, 5)
    ]
    assert found["default/mini/message_vectors"].shape == (18, 2)
    told = json.loads(run(other, "import", lines, "--vectors", vectors, "--json"))
    assert told["added"]["vector"] == 18 + 9 + 1
    for client in (recollectd_daemon.client(), other.client()):
        with client:
            read = {
                (name, each.message_id): each.vectors
                for name in ("a", "b/%", "c\0")
                for each in client.conversations.iterate(name, vectors=True)
                if each.vectors
            }
            assert len(read) == 18
            assert read["b/%", "m3"] == {"mini": [3.0, 1.0], "wide": [3.0, 2.0, 3.0]}
    with other.client() as client:
        assert len(client.memories.search(vectors={"wide": [1, 2, 3]}, among="messages").hits) == 9


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"default|mini|message_ids": None}, "no default/mini/message_ids beside it"),
        ({"default|mini|message_vectors": None}, "there are no vectors beside it"),
        ({"default|wide|message_vectors": float32([[1, 2]] * 9)}, "rows have 2 numbers; the space has 3"),
        ({"default|wide|message_ids": np.array(["gone/m1", *(f"a/x{n}" for n in range(8))])}, "is of message"),
    ],
)
def test_arrays_of_messages_that_do_not_fit_are_refused(
    recollectd_daemon: Daemon, other: Daemon, tmp_path: Path, changed: Arrays, said: str
) -> None:
    converse(recollectd_daemon)
    lines, vectors = tmp_path / "out.jsonl", tmp_path / "out.npz"
    run(recollectd_daemon, "export", lines, "--vectors", vectors)
    rewritten(vectors, **changed)
    assert said in failing(other, "import", lines, "--vectors", vectors)
