"""A stand-in for `python -m recollectd`: takes the arguments that `Client.local` gives and runs a fake daemon.

With a file `broken` in the folder it ends with a message; with a named pipe `gate` it waits until that was opened for
writing and closed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
from pathlib import Path


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--exit-when-idle", type=float, required=True)
    options = parser.parse_args()
    print(f"began {os.getpid()} {options.exit_when_idle:g}", flush=True)
    if (options.data / "broken").exists():
        print("the records are damaged: segment 7", file=sys.stderr)
        return 70
    lock = os.open(options.data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another daemon has the folder", file=sys.stderr)
        return 75
    if (options.data / "gate").exists():
        (options.data / "gate").read_bytes()
    from client.fake import FakeDaemon

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with FakeDaemon(options.socket) as daemon:
        print(f"ready {daemon.url}", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
