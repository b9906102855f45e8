"""One connection's bytes: frames in, replies out, and the reads that the value cache answers in between."""

from collections.abc import Callable
from typing import Protocol, final, type_check_only

from recollectd._native.hot_reads import HotReads

@type_check_only
class Transport(Protocol):
    """What an intake needs of a transport."""

    def write(self, data: bytes, /) -> None:
        """Send bytes, when there is room."""
    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not been sent yet."""

@final
class Intake:
    """The native way of `recollectd.server.intake.PlainIntake`, which says what each member is for."""

    requests_in_flight: int
    bytes_in_flight: int
    last_frame_at: float
    begun: bool
    welcomed: bool
    choked: bool
    ending: bool

    def __new__(
        cls,
        reads: HotReads,
        *,
        begin: Callable[[bytes], int],
        take: Callable[[bytes], None],
        unframed: Callable[[bytes], None],
        time: Callable[[], float],
    ) -> Intake:
        """Make the intake of one connection.

        begin: takes what has come of the preamble, returns how many bytes that was. take: carries out a frame.
        unframed: told where the bytes cannot be cut into frames any more. time: the loop's.
        """
    def open(self, transport: Transport, fd: int) -> None:
        """Begin to send: past the transport while it holds nothing, if fd is not -1."""
    def end(self) -> None:
        """Send what is queued; nothing more is carried out."""
    def close(self) -> None:
        """The connection is gone: fd may belong to another one from now on."""
    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to receive into: one buffer for all connections."""
    def buffer_updated(self, nbytes: int) -> None:
        """Take received bytes; carry out the frames that are whole now."""
    def mark(self, keys: tuple[bytes, ...] | None) -> None:
        """A write that touches these records (None: any) is on its way: reads of them are left to Python."""
    def unmark(self, keys: tuple[bytes, ...] | None) -> None:
        """It has ended."""
    def reply(self, request_id: int, position: int, message: bytes) -> None:
        """Queue a reply."""
    def flush(self) -> None:
        """Send what is queued."""
