"""The servers that stand beside the daemon: started in a folder of their own, weighed, and stopped by their pid.

Nothing packaged is touched: no service, no port, no configuration outside the folder.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from bench.generator import dialects
from bench.generator.plan import Outcome, Plan, Request, Target, run
from bench.peers.footprint import Footprint, blocks, footprint
from bench.process import DaemonProcess, weigh
from recollectd.storage.engine import Engine
from recollectd.storage.engine_options import EngineOptions

VALUE_BYTES: Final = 200
_START_S: Final = 60.0
_POLL_S: Final = 0.01


class Unavailable(RuntimeError):
    """The peer is not installed, or would not start; the message says which."""


class Peer(Protocol):
    """One server under test. name is the peer's in the rows; durability is what an acknowledged write means there.

    rest_windows: how many quarters of a second it must be quiet behind writes to have come to rest.
    """

    name: str
    durability: str
    rest_windows: int

    def start(self) -> None:
        """Start it and wait until it answers. Raises Unavailable."""

    def stop(self) -> None:
        """End it; nothing if it does not run."""

    def version(self) -> str:
        """Return its version."""

    def footprint(self) -> Footprint:
        """Return CPU and memory of all its processes."""

    def compact(self) -> None:
        """Have it write out what it holds and compact its files; then only `disk_bytes` and `stop` may be called."""

    def disk_bytes(self) -> int:
        """Return the allocated blocks of its data."""

    def load(self, kind: str, keys: int, operations: int) -> Outcome:
        """Do so many operations of a kind, one key after the other."""

    def work(self, kind: str, keys: int, connections: int, depth: int, seconds: float, seed: int) -> Outcome:
        """Do operations of a kind on random keys for some seconds."""


class NetworkPeer:
    """A peer that the generator loads over a socket."""

    target: Target
    requests: Mapping[str, Request]
    rest_windows = 2

    def load(self, kind: str, keys: int, operations: int) -> Outcome:
        """Do so many operations of a kind, one key after the other."""
        plan = Plan(self.target, [self.requests[kind]], 8, 128, 3600.0, keys, operations=operations)
        return run(plan._replace(distribution="sequential"))

    def work(self, kind: str, keys: int, connections: int, depth: int, seconds: float, seed: int) -> Outcome:
        """Do operations of a kind on random keys for some seconds."""
        return run(Plan(self.target, [self.requests[kind]], connections, depth, seconds, keys, seed=seed))


class Ours(NetworkPeer):
    """The daemon with default options."""

    name = "recollectd"
    durability = "synced, every version kept in history"
    rest_windows = 5  # it prunes history once a second

    def __init__(self, folder: Path, options: Mapping[str, object]) -> None:
        self.daemon = DaemonProcess(folder)
        self._options = options
        size = VALUE_BYTES
        self.requests = {
            "get": dialects.our_get(),
            "put": dialects.our_put(size),
            "append": dialects.our_append(size),
            "last": dialects.our_last(),
        }

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.daemon.start(self._options)
        self.target = dialects.ours(self.daemon.socket)

    def stop(self) -> None:
        """End it; nothing if it does not run."""
        self.daemon.kill()

    def version(self) -> str:
        """Return its version."""
        from recollectd import __version__

        return __version__

    def footprint(self) -> Footprint:
        """Return CPU and memory."""
        return footprint(self.daemon.pid)

    def compact(self) -> None:
        """End it as usual, which flushes, and compact its records."""
        self.daemon.terminate()
        engine = Engine.open(self.daemon.data / "records", EngineOptions(256 << 20, 64 << 20))
        engine.compact()
        engine.close()

    def disk_bytes(self) -> int:
        """Return the allocated blocks, preallocation and ballast left out."""
        return weigh(self.daemon.data).data


class Redis(NetworkPeer):
    """Redis or Valkey with an append-only file; its own rewrites of that file happen as by default."""

    def __init__(self, folder: Path, program: str, fsync: str) -> None:
        self.name = f"{program.removesuffix('-server')} {fsync}"
        self.durability = f"appendonly yes, appendfsync {fsync}, last value only"
        self.target = dialects.redis(folder / "s")
        self.requests = dialects.redis_requests(VALUE_BYTES)
        self._folder, self._program, self._fsync = folder, program, fsync
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises Unavailable."""
        program = shutil.which(self._program)
        if program is None:
            raise Unavailable(f"{self._program} is not installed")
        options = {
            "port": "0",
            "unixsocket": str(self.target.socket),
            "dir": str(self._folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "daemonize": "no",
        }
        words = [word for option, value in options.items() for word in (f"--{option}", value)]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen([program, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for_socket(self.target.socket, self._process, self._folder / "log")

    def stop(self) -> None:
        """End it; nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def version(self) -> str:
        """Return what it calls itself."""
        words = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=True).stdout.split()
        return next(word.removeprefix("v=") for word in words if word.startswith("v="))

    def footprint(self) -> Footprint:
        """Return CPU and memory, those of its rewriting children included."""
        assert self._process is not None
        return footprint(self._process.pid)

    def compact(self) -> None:
        """Have it write its append-only file anew, and wait for the end."""
        self._answer(b"BGREWRITEAOF")
        give_up = time.monotonic() + _START_S
        while not {b"aof_rewrite_in_progress:0", b"aof_rewrite_scheduled:0"} <= set(self._answer(b"INFO").split()):
            if time.monotonic() > give_up:
                raise Unavailable("the append-only file is not rewritten in time")
            time.sleep(_POLL_S)

    def _answer(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(self.target.socket))
            connection.sendall(dialects.command(command) + dialects.command(b"QUIT"))
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def disk_bytes(self) -> int:
        """Return the allocated blocks of its folder."""
        return blocks(self._folder)


class Postgres(NetworkPeer):
    """PostgreSQL with its defaults, but for connections and a buffer that holds everything."""

    name = "postgres"
    durability = "fsync on, synchronous_commit on, last value only"
    _options: Final = {
        "listen_addresses": "",
        "max_connections": "120",
        "shared_buffers": "512MB",
        "fsync": "on",
        "synchronous_commit": "on",
    }

    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        # It refuses to run as root: then it runs as the user that its package made.
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.target = dialects.postgres(folder / ".s.PGSQL.5432", self._user, "postgres")
        self.requests = dialects.postgres_requests(VALUE_BYTES)

    def _command(self, program: str, *words: str) -> Sequence[str]:
        found = shutil.which(program) or next(
            (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), reverse=True)), None
        )
        if found is None:
            raise Unavailable(f"{program} is not installed")
        account = ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--init-groups"]
        return [*(account if os.geteuid() == 0 else []), found, *words]

    def _call(self, program: str, *words: str) -> str:
        command = self._command(program, *words)
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self._folder)
        if done.returncode:
            raise Unavailable(f"{program} failed: {done.stderr.strip()}")
        return done.stdout

    def start(self) -> None:
        """Make a cluster, start it, make the tables. Raises Unavailable."""
        self._command("postgres")
        if os.geteuid() == 0:
            try:
                shutil.chown(self._folder, self._user, self._user)
            except LookupError as error:
                raise Unavailable("PostgreSQL refuses root, and there is no user postgres") from error
        self._call("initdb", "-D", str(self._data), "-A", "trust", "-E", "UTF8", "--no-instructions")
        options = [f"-c{name}={value}" for name, value in self._options.items()]
        command = self._command("postgres", "-D", str(self._data), "-k", str(self._folder), *options)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder, process_group=0
            )
        wait_for_socket(self.target.socket, self._process, self._folder / "log")
        give_up = time.monotonic() + _START_S
        for statement in dialects.SCHEMA:
            while True:  # the socket listens before recovery has ended
                try:
                    self._sql(statement)
                    break
                except Unavailable:
                    if time.monotonic() > give_up:
                        raise
                    time.sleep(_POLL_S)

    def _sql(self, statement: str) -> None:
        self._call("psql", "-q", "-h", str(self._folder), "-d", "postgres", "-c", statement)

    def stop(self) -> None:
        """End it with all its processes; nothing if it does not run."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once, its children too
            self._process.wait()
            self._process = None

    def version(self) -> str:
        """Return what it calls itself."""
        return self._call("postgres", "--version").split()[2]

    def footprint(self) -> Footprint:
        """Return CPU and memory of the postmaster, the backends and the background processes."""
        assert self._process is not None
        return footprint(self._process.pid)

    def compact(self) -> None:
        """Have it write its tables anew, without dead rows."""
        self._sql("VACUUM FULL")
        self._sql("CHECKPOINT")

    def disk_bytes(self) -> int:
        """Return the allocated blocks of the cluster, its log included."""
        return blocks(self._data)


class Sqlite:
    """SQLite in a process of its own, called without a network: one thread, each write its own transaction."""

    name = "sqlite"
    durability = "journal_mode WAL, synchronous FULL, last value only"
    rest_windows = 2

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process that holds the database open."""
        from bench.machine import ROOT, environment

        command = [sys.executable, "-m", "bench.peers.sqlite_worker", str(self._folder / "database")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
        )
        self._ask("ping 0 0 0 0")

    def _ask(self, line: str) -> Outcome:
        from bench.generator.plan import parse

        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        lines = []
        while (answer := self._process.stdout.readline()) != "end\n":
            if not answer:
                raise Unavailable("the SQLite process ended")
            lines.append(answer)
        return parse("".join(lines))

    def stop(self) -> None:
        """End the process; nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def version(self) -> str:
        """Return the library's version."""
        import sqlite3

        return sqlite3.sqlite_version

    def footprint(self) -> Footprint:
        """Return CPU and memory of the process: the binding and the loop that calls it are in it."""
        assert self._process is not None
        return footprint(self._process.pid)

    def compact(self) -> None:
        """Have it write the database anew and empty its log."""
        self._ask("compact 0 0 0 0")

    def disk_bytes(self) -> int:
        """Return the allocated blocks of the database and its log."""
        return blocks(self._folder)

    def load(self, kind: str, keys: int, operations: int) -> Outcome:
        """Do so many operations of a kind, one key after the other."""
        return self._ask(f"{kind} {keys} 0 {operations} 1")

    def work(self, kind: str, keys: int, connections: int, depth: int, seconds: float, seed: int) -> Outcome:
        """Do operations of a kind on random keys for some seconds; connections and depth mean nothing here."""
        del connections, depth
        return self._ask(f"{kind} {keys} {seconds} 0 {seed}")


def wait_for_socket(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until somebody listens there. Raises Unavailable with the end of the log."""
    give_up = time.monotonic() + _START_S
    while True:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.connect(str(path))
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > give_up:
                raise Unavailable(f"no server at {path}: {log.read_text(errors='replace')[-500:]}") from error
            time.sleep(_POLL_S)
