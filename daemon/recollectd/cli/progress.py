"""Speaking with a person at a terminal: progress of long work, and questions. Nothing of it without a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import click

REDRAW_S: Final = 0.2


class Bar(Protocol):
    """Told how far the work is."""

    def reach(self, done: int) -> None:
        """Say that so much is done, in all."""


class _Silent:
    def reach(self, done: int) -> None:
        pass


class _Steps(Protocol):
    """What of click's progress bar is used here."""

    pos: int

    def update(self, n_steps: int) -> None: ...


class _Measured:
    """A bar, where the end is known."""

    def __init__(self, bar: _Steps) -> None:
        self._bar = bar

    def reach(self, done: int) -> None:
        self._bar.update(done - self._bar.pos)


class _Counted:
    """A number that grows, where it is not."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._redraw_at = 0.0

    def reach(self, done: int) -> None:
        now = time.monotonic()
        if now >= self._redraw_at:
            self._redraw_at = now + REDRAW_S
            click.echo(f"\r{self._label}  {done:,}", nl=False, err=True)


@contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Bar]:
    """Show on a terminal's standard error how far the work is; total: what `reach` ends at, None if nobody knows."""
    if not sys.stderr.isatty():
        yield _Silent()
    elif total:
        with click.progressbar(length=total, label=label, file=sys.stderr) as bar:
            yield _Measured(bar)
    else:
        yield _Counted(label)
        click.echo(err=True)


def confirm(question: str) -> None:
    """Ask before something that cannot be taken back. Raises click.Abort for no, UsageError where nobody is there."""
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody is there to be asked; give --yes.")
    click.confirm(question, abort=True, err=True)
