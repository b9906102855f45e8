"""What a build that is cut off leaves to the next one: its graph so far, and which vector each row of it is.

    parked/<space>-<what>/state       b"RVP1", msgpack of State, u64 XXH64 of both, little-endian     do not change
                          graph-<n>   usearch over the rows entered so far

<space> is the space's number, <what> that of the segment whose graph goes on, or `whole` or `second`: built anew, in
place of all segments or beside the base. Entering rows is nearly all of what a build costs, and the graph is all that
is worth keeping: whoever goes on has the rows from where they are now. He takes of the graph what is still so, by
comparing each row's id and checksum with the vectors he is to build of, and removes the rest. So nothing depends on
what changed meanwhile, and what is parked may be thrown away at any time. It is not synced: what does not have its
checksum is not taken.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import numpy.typing as npt

from recollectd._native.checksum import xxh64
from recollectd.storage.durable import FOLDER_MODE, write_file
from recollectd.storage.vectors.errors import FileDamaged
from recollectd.storage.vectors.files import FileMark, mark_of
from recollectd.storage.vectors.spec import Spec

if TYPE_CHECKING:
    from usearch.index import Index

# On disk: do not change.
MAGIC: Final = b"RVP1"
STATE_NAME: Final = "state"
GRAPH_NAME: Final = "graph-{}"
WHOLE: Final = "whole"
SECOND: Final = "second"

# Parking may take this part of the time that it saves.
PARKING_SHARE: Final = 0.1
# Fewer rows than this are entered again sooner than they are found.
ROWS_MIN: Final = 2_048
# What a building process ends with that was asked to end, by the daemon or with it.
ENDED_EXIT: Final = 128 + signal.SIGTERM
# A graph of which more was removed is not worth going on with.
REMOVED_SHARE_MAX: Final = 0.3

Digests = npt.NDArray[np.uint64]


class Parking(msgspec.Struct, frozen=True):
    """Where a build parks, and how often: after so many seconds. spotless: nothing that died may be in the graph."""

    folder: str
    interval_s: float
    spotless: bool = False


class State(msgspec.Struct, frozen=True):
    """A graph so far. ids: by row, empty where the graph has none; digests: u64 XXH64 of the stored rows.

    scale, churn and residue are those of the segment to be; freed: rows taken out of the graph and not filled again.
    """

    graph: str
    mark: FileMark
    spec: Spec
    connectivity: int
    scale: float
    churn: int
    freed: int
    ids: list[bytes]
    digests: bytes


class Parked:
    """A graph that was parked and is what it should be, and where each record's row in it is."""

    def __init__(self, folder: Path, state: State) -> None:
        self.state = state
        self.graph_path = folder / state.graph
        self.digests: Digests = np.frombuffer(state.digests, np.uint64)
        self.row_of = {record_id: row for row, record_id in enumerate(state.ids) if record_id}


def take_parked(parking: Parking | None, spec: Spec, connectivity: int) -> Parked | None:
    """Return what a build before has left for one like this, if it is whole."""
    if parking is None:
        return None
    folder = Path(parking.folder)
    try:
        content = (folder / STATE_NAME).read_bytes()
        body, checksum = content[:-8], content[-8:]
        if not body.startswith(MAGIC) or xxh64(body).to_bytes(8, "little") != checksum:
            return None
        state = msgspec.msgpack.decode(body[len(MAGIC) :], type=State)
        if (state.spec, state.connectivity) != (spec, connectivity) or mark_of(folder / state.graph) != state.mark:
            return None
    except (OSError, FileDamaged, msgspec.MsgspecError):
        return None
    return Parked(folder, state)


def write_state(folder: Path, state: State) -> None:
    """Replace the state in a folder."""
    body = MAGIC + msgspec.msgpack.encode(state)
    write_file(folder / STATE_NAME, body + xxh64(body).to_bytes(8, "little"))


class Parker:
    """Parks a graph while it is built. ids, digests: of all rows the graph will have, in their places."""

    def __init__(self, parking: Parking, name: str) -> None:
        self._folder = Path(parking.folder)
        self._interval_s = parking.interval_s
        self._name = name
        self._number = 0
        self._entered = 0
        self._due_s = time.monotonic() + self._interval_s

    def is_due(self, entered: int) -> bool:
        """Whether it is worth parking, so many rows having been entered in all."""
        return time.monotonic() >= self._due_s and self.is_worth(entered)

    def is_worth(self, entered: int) -> bool:
        """Whether enough rows were entered since the graph was parked last."""
        return entered - self._entered >= ROWS_MIN

    def park(self, graph: Index, state: State, entered: int) -> None:
        """Let what is parked from now on be this graph. On a full disk it stays what it was."""
        begun = time.monotonic()
        self._number += 1
        path = self._folder / GRAPH_NAME.format(f"{self._name}-{self._number}")
        try:
            self._folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            graph.save(os.fspath(path))
            state = msgspec.structs.replace(state, graph=path.name, mark=mark_of(path))
            write_state(self._folder, state)
        except (OSError, RuntimeError, FileDamaged):
            path.unlink(missing_ok=True)
        else:
            self._entered = entered
            for other in self._folder.iterdir():
                if other.name not in (STATE_NAME, path.name):
                    other.unlink(missing_ok=True)
        now = time.monotonic()
        self._due_s = now + max(self._interval_s, (now - begun) / PARKING_SHARE)


class Ending:
    """Whether the process was asked to end: at once, but where a graph is held until it is parked."""

    def __init__(self) -> None:
        self.asked = False
        self._held = False

    def listen(self) -> None:
        """Take SIGTERM from here on. In the main thread."""
        signal.signal(signal.SIGTERM, self._ask)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Only set `asked` meanwhile."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _ask(self, *_: object) -> None:
        self.asked = True
        if not self._held:
            raise SystemExit(ENDED_EXIT)


def parked_name(space: int, what: int | str) -> str:
    """Return the name of the folder for a space and what is built: the number of a segment, WHOLE or SECOND."""
    return f"{space}-{what}"
