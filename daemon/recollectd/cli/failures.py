"""Errors that end a command with a message, a hint and an exit code; how any other error is told."""

from __future__ import annotations

import os
import sys
from typing import IO, Any, Final

import click

from recollectd.cli.exits import ExitCode, exit_code_of
from recollectd.protocol.errors import InternalError, RecollectdError

TRACEBACK_VARIABLE: Final = "RECOLLECTD_TRACEBACK"


class Failure(click.ClickException):
    """Ends a command. message: what happened; hint: what to do about it, or ""."""

    def __init__(self, message: str, *, hint: str = "", code: ExitCode) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Print message and hint to standard error."""
        report(self.message, self.hint)


def report(message: str, hint: str = "") -> None:
    """Print an error and what to do about it to standard error."""
    click.echo(f"recollectd: {message}", err=True)
    if hint:
        click.echo(f"  hint: {hint}", err=True)


def show(error: Exception) -> int:
    """Print an error that ended a command, as its kind deserves, and return the exit code."""
    if os.environ.get(TRACEBACK_VARIABLE):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, click.UsageError):
        where = f" Try '{error.ctx.command_path} --help'." if error.ctx is not None else ""
        report(f"{error.format_message()}{where}")
        return ExitCode.USAGE
    if isinstance(error, click.ClickException):
        error.show()
        return error.code if isinstance(error, Failure) else ExitCode.USAGE
    code = exit_code_of(error)
    if code is ExitCode.BROKEN_PIPE:
        # Whoever read the output is gone; the interpreter's last flush must not complain of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif isinstance(error, InternalError) or code is not ExitCode.INTERNAL:
        report(_sentence(error), error.hint if isinstance(error, RecollectdError) else "")
    else:
        report(
            f"a defect of recollectd: {type(error).__name__}: {error}",
            f"please report it; {TRACEBACK_VARIABLE}=1 shows where it happened",
        )
    return code


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)
