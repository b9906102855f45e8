"""Commands that run or read a store need the packages of the extra `[daemon]`; without them they say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import Failure


@contextmanager
def needed(what: str) -> Iterator[None]:
    """Around imports of the daemon's modules: a package that is missing ends the command with one sentence."""
    try:
        yield
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing and missing != "recollectd":
            message = f"{what} needs the package {missing}, which is not installed"
        else:
            message = f"{what} cannot start: {error}"
        raise Failure(message, hint="pip install 'recollectd[daemon]'", code=ExitCode.UNAVAILABLE) from error
