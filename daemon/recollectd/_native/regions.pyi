"""Mapped memory. What nobody looks at any more is given back by a thread of its own, without the interpreter.

So whoever lets go of it last waits for nothing.
"""

def zeros(size: int) -> memoryview:
    """Return writable zeros in pages of the usual size, which take memory when touched. Raises MemoryError."""

def of_file(descriptor: int, size: int) -> memoryview:
    """Map the first bytes of a file, read-only; the descriptor may be closed. Raises OSError."""

def expect_random(region: memoryview) -> None:
    """Read no file ahead: what is touched next is far from it."""

def expect_in_order(region: memoryview) -> None:
    """Read a file far ahead: it is read from its beginning to its end."""

def expect_anything(region: memoryview) -> None:
    """Take back what was expected."""

def leave_to_cache(region: memoryview) -> None:
    """Let the page cache have a file's pages, and this process none. Raises ValueError for what is no file's."""

def settle() -> None:
    """Wait until all that nobody looks at is given back. Other threads run meanwhile."""

def waiting_bytes() -> int:
    """Return the bytes that nobody looks at and that are not given back yet."""
