"""The daemon of a folder: found when it runs, started when it does not.

The daemon listens on `FOLDER/recollectd.sock`. Whoever finds nobody there takes `FOLDER/.start-lock`, looks again and
starts one; so of many processes that come at once one starts it and the others find it. It is detached, writes to
`FOLDER/daemon.log`, reads its options from `FOLDER/recollectd.toml` if that is there, and ends some time after its
last client is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from recollectd.client.address import UNIX_PATH_BYTES_MAX, Address
from recollectd.client.blocking.channel import Channel
from recollectd.client.session import Session
from recollectd.protocol import errors

START_S_MAX: Final = 120.0
"""Recovery after a crash takes less than a minute; twice that is a defect, or a broken disk."""
PROGRAM: Final = (sys.executable, "-P", "-m", "recollectd")  # -P: nothing in the caller's directory is imported
_HELLO_S: Final = 5.0
_POLL_S: Final = 0.02
_LOG_TAIL_BYTES: Final = 4_096
_NEEDED: Final = ("rocksdict", "uvloop", "zstandard", "psutil")


class LocalDaemon:
    """The daemon of one folder. program: the command that `serve` is a subcommand of."""

    def __init__(self, folder: str | os.PathLike[str], exit_when_idle: float, program: Sequence[str] = PROGRAM) -> None:
        if not exit_when_idle > 0:
            raise errors.InvalidArgument(f"must be more than 0 seconds, not {exit_when_idle!r}", field="exit_when_idle")
        self.folder = Path(folder).absolute()
        self._exit_when_idle = exit_when_idle
        self._program = program
        self._socket = self.folder / "recollectd.sock"

    @property
    def url(self) -> str:
        """Where the daemon listens."""
        return str(Address(str(self._socket)))

    def start(self, deadline: float | None = None) -> None:
        """Start the daemon unless it runs, and return when it answers, until a deadline in monotonic seconds.

        Raises DaemonUnavailable.
        """
        if self._answers():
            return
        try:
            self._start(monotonic() + START_S_MAX if deadline is None else deadline)
        except OSError as error:
            raise errors.DaemonUnavailable(f"the daemon of {self.folder} cannot be started: {error}") from None

    def _start(self, deadline: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._starting(deadline):
            process = 0
            while not self._answers():
                # Whoever holds the data folder is a daemon that starts or ends: it will answer, or let go of it. (Not
                # asked while our own is starting: the question takes the lock for a moment.)
                if not process and not self._folder_in_use():
                    process = self._spawn()
                elif process and self._has_ended(process):
                    if not self._folder_in_use():
                        raise errors.DaemonUnavailable(self._failure("ended at its start"))
                    process = 0
                if monotonic() >= deadline:
                    raise errors.DaemonUnavailable(self._failure("was not ready within the timeout"))
                sleep(_POLL_S)

    def _failure(self, why: str) -> str:
        return f"the daemon of {self.folder} {why}; the end of its log:\n{self._log()}"

    @contextmanager
    def _starting(self, deadline: float) -> Iterator[None]:
        """Hold the start lock. It is the open file that is locked: a process that dies lets go of it."""
        descriptor = os.open(self.folder / ".start-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if monotonic() >= deadline:
                        raise errors.DaemonUnavailable(
                            f"another process has been starting the daemon of {self.folder} for too long"
                        ) from None
                    sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def _answers(self) -> bool:
        """Tell whether a daemon accepts a hello. One that refuses it for now is a daemon all the same."""
        channel: Channel[None] = Channel(Address(str(self._socket)))
        try:
            channel.open(Session().hello("recollectd.local"), monotonic() + _HELLO_S)
        except (errors.DaemonUnavailable, errors.ShuttingDown):
            return False
        except errors.CapacityError:
            return True
        finally:
            channel.close()
        return True

    def _spawn(self) -> int:
        """Start the daemon in a session of its own and return its process id."""
        missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
        if missing:
            raise errors.DaemonUnavailable(
                f"no daemon runs in {self.folder}, and to start one {', '.join(missing)} "
                "must be installed: pip install 'recollectd[daemon]'"
            )
        command = [
            *(*self._program, "serve"),
            *("--data", str(self.folder), "--socket", self._short_socket_path()),
            *("--exit-when-idle", f"{self._exit_when_idle:g}"),
        ]
        configuration = self.folder / "recollectd.toml"
        if configuration.exists():
            command += ["--config", str(configuration)]
        # Options that the user has set for other daemons are not this one's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECOLLECTD_")}
        log = os.open(self.folder / "daemon.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return os.posix_spawn(
                command[0],
                command,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(log)

    def _folder_in_use(self) -> bool:
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @staticmethod
    def _has_ended(process: int) -> bool:
        with suppress(ChildProcessError):  # somebody else takes care of this program's children
            return os.waitpid(process, os.WNOHANG)[0] != 0
        return False

    def _log(self) -> str:
        with suppress(OSError), (self.folder / "daemon.log").open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES, 0))
            return log.read().decode(errors="replace").strip() or "(empty)"
        return "(none)"

    def _short_socket_path(self) -> str:
        """Return a path of the socket that fits a socket address: where it is too long, through a link to the folder.

        The link lies in the user's runtime directory; the socket itself lies in the folder all the same, where clients
        reach it whatever its length.
        """
        if len(os.fsencode(self._socket)) <= UNIX_PATH_BYTES_MAX:
            return str(self._socket)
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"recollectd-{os.getuid()}"
        runtime.mkdir(mode=0o700, exist_ok=True)
        if runtime.is_symlink() or runtime.stat().st_uid != os.getuid():
            raise errors.DaemonUnavailable(f"{runtime} belongs to somebody else, and {self._socket} is too long a path")
        link = runtime / hashlib.blake2b(os.fsencode(self.folder), digest_size=8).hexdigest()
        with suppress(FileExistsError):
            link.symlink_to(self.folder)
        return str(link / self._socket.name)
