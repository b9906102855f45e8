"""recollectd's errors in a framework's own terms: what the caller can mend, and what only time or an operator can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from recollectd.protocol import errors

MENDABLE: Final = (errors.InvalidArgument, errors.TooLarge, errors.NotFound, errors.AlreadyExists)


@contextmanager
def translated(refused: Callable[[str], Exception], failed: Callable[[str], Exception]) -> Iterator[None]:
    """Raise what `refused` makes of a message for arguments that cannot be, what `failed` makes of it for the rest.

    The rest: no daemon, none in time, a daemon that is full or at fault. recollectd's error is the cause of either.
    """
    try:
        yield
    except MENDABLE as error:
        raise refused(str(error)) from error
    except errors.RecollectdError as error:
        raise failed(f"{error} {error.hint}".rstrip()) from error
