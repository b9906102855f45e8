"""What can be wrong with a line, or with vectors beside the lines."""

from __future__ import annotations


class DataError(Exception):
    """A line cannot be taken in. line: its number from 1, or 0 where none is at fault."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line


class TransferStopped(Exception):
    """The work cannot go on now; what came before is stored. line: everything up to it is; cause: why."""

    def __init__(self, line: int, cause: Exception) -> None:
        super().__init__(str(cause))
        self.line = line
        self.cause = cause


class VectorsError(Exception):
    """A file of vectors cannot be taken in; the message names it and the array. stored: the lines are stored."""

    def __init__(self, message: str, *, stored: bool = False) -> None:
        super().__init__(message)
        self.stored = stored
