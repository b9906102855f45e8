"""`python -m recollectd.storage.vectors.build_process`: builds the segment that a line on stdin describes.

Lines of JSON on stdout: {"done": …, "total": …} while it works, {"built": …} at the end. When whoever started it is
gone, the next line ends it; SIGTERM ends it, too, once it has parked what it has. It gives way to searches: by its
niceness it gets what others leave, and in short turns, so that who wakes up does not wait for the end of a long one.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import msgspec

from recollectd._native import scheduling
from recollectd.storage.vectors.building import Built, Job, build
from recollectd.storage.vectors.parking import Ending

NICENESS: Final = 10
TURN_US: Final = 100


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the process says. built: at the end."""

    done: int = 0
    total: int = 0
    built: Built | None = None


def main() -> None:
    """Build one segment."""
    os.nice(NICENESS)
    scheduling.take_turns_of(TURN_US)
    ending = Ending()
    ending.listen()
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    _say(Line(built=build(job, lambda done, total: _say(Line(done, total)), ending)))


def _say(line: Line) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
