"""Every exit code of the command line, declared once, and which error ends with which.

Codes up to 78 are those of BSD's sysexits.h.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from recollectd.protocol import errors


class ExitCode(IntEnum):
    """The codes; each says what a script may conclude."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> ExitCode:
        """Make a member that is its code and carries what it means."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "done"
    USAGE = 64, "the command line is wrong"
    DATA_ERROR = 65, "a value, a line or a file is not acceptable"
    NO_INPUT = 66, "the record or file asked for does not exist"
    UNAVAILABLE = 69, "no daemon answers there, or packages are missing"
    INTERNAL = 70, "a defect of recollectd"
    CANNOT_CREATE = 73, "the output cannot be made, or is there already"
    IO_ERROR = 74, "reading or writing a file failed"
    TEMPORARY = 75, "not now: the same command may succeed later"
    PROTOCOL = 76, "the other side does not speak recollectd's protocol, or another version of it"
    NO_PERMISSION = 77, "not allowed"
    CONFIGURATION = 78, "the daemon's options are not acceptable"
    CONFLICT = 79, "what is stored is not what the command expected: read, then decide"
    DEMO_FAILED = 80, "the demo found something missing"
    INTERRUPTED = 130, "interrupted from the keyboard"
    BROKEN_PIPE = 141, "the reader of the output went away"


# The nearest class in an error's line of descent decides.
EXIT_BY_ERROR: Final[dict[type[BaseException], ExitCode]] = {
    errors.RequestError: ExitCode.DATA_ERROR,
    errors.NotFound: ExitCode.NO_INPUT,
    errors.HistoryPruned: ExitCode.NO_INPUT,
    errors.VersionConflict: ExitCode.CONFLICT,
    errors.AlreadyExists: ExitCode.CONFLICT,
    errors.TransactionConflict: ExitCode.CONFLICT,
    errors.OutcomeUnknown: ExitCode.CONFLICT,
    errors.Resync: ExitCode.CONFLICT,
    errors.SessionForeign: ExitCode.NO_PERMISSION,
    errors.NumberReused: ExitCode.INTERNAL,
    errors.ProtocolError: ExitCode.PROTOCOL,
    errors.CapacityError: ExitCode.TEMPORARY,
    errors.DaemonUnavailable: ExitCode.UNAVAILABLE,
    errors.ConnectionLost: ExitCode.TEMPORARY,
    errors.RequestTimeout: ExitCode.TEMPORARY,
    errors.RecollectdError: ExitCode.INTERNAL,
    FileNotFoundError: ExitCode.NO_INPUT,
    FileExistsError: ExitCode.CANNOT_CREATE,
    PermissionError: ExitCode.NO_PERMISSION,
    OSError: ExitCode.IO_ERROR,
    BrokenPipeError: ExitCode.BROKEN_PIPE,
}


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the code a command ends with when this error ends it; INTERNAL for what nobody foresaw."""
    for kind in type(error).__mro__:
        if kind in EXIT_BY_ERROR:
            return EXIT_BY_ERROR[kind]
    return ExitCode.INTERNAL
