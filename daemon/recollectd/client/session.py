"""What makes a client's writes happen exactly once and its reads see them: numbers, their window, and the position.

No I/O and no locks: the blocking face guards a session with its lock, the asyncio face runs in one thread.

A write gets its number when it is about to be sent for the first time and keeps it over all attempts. The number is
*unanswered* until its outcome is known or its caller has been told that it is not. Every frame tells the daemon, by its
span, that all numbers below the oldest unanswered one may be forgotten.

A write whose caller gave up (timeout, cancellation) is *abandoned*: it will never be sent again, so its number counts
as answered at once. That is safe for whatever copy of it is still under way. Either it arrives before a write that says
so, and is carried out at most once, since nobody repeats it; or it arrives later, lies below the window, and is
refused. So an abandoned write cannot take effect behind a write that was numbered after it was given up.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from recollectd.client.reading import ANSWERS
from recollectd.protocol import errors, limits, table
from recollectd.protocol.frames import FLAG_ASYNC, REQUEST_HEADER
from recollectd.protocol.messages.connection import ErrorReply, Hello, Welcome
from recollectd.protocol.messages.fields import Message, Reply, Write

HeaderFields: TypeAlias = tuple[int, int, int, int, int]
"""number, after, deadline_ms, flags and span."""

_BODY_BYTES_MAX: Final = limits.FRAME_BYTES_MAX - REQUEST_HEADER.size
_RETRIED: Final = (errors.Busy, errors.ShuttingDown, errors.TooManyConnections)


class Operation:
    """One request on its way to its outcome: `reply` and `position`, or `error`.

    deadline: monotonic seconds at which its caller gives up. in_doubt: an attempt was cut off after it may have been
    sent, so the daemon may have carried it out. held_for: no ordered write is sent behind it before it is done, so it
    can always be put off.
    """

    # Defaults of the class: an operation is made for every request, and most never need another value for some.
    number = 0
    generation = 0
    in_doubt = False
    held_for = False
    position = 0
    reply: Reply | None = None
    error: errors.RecollectdError | None = None

    def __init__(self, request: Message, deadline: float, *, durable: bool = True) -> None:
        self.request = request
        self.body = table.encode(request)
        if len(self.body) > _BODY_BYTES_MAX:
            raise errors.TooLarge(
                f"the request has {len(self.body)} bytes, a frame at most {limits.FRAME_BYTES_MAX}: send less at once"
            )
        self.is_write = isinstance(request, Write)
        self.flags = FLAG_ASYNC if self.is_write and not durable else 0
        self.deadline = deadline

    @property
    def done(self) -> bool:
        """Whether the outcome is known."""
        return self.reply is not None or self.error is not None


class Session:
    """The numbers of one client over all its connections, and what its reads must include.

    generation: how many sessions the daemon has given this client; numbers belong to one of them.
    position: the highest journal position among the replies to this client's writes.
    """

    def __init__(self) -> None:
        self.session_id = b""
        self.store_id = b""
        self.generation = 0
        self.position = 0
        self._newest = 0
        self._oldest = 1
        self._unanswered: set[int] = set()

    def hello(self, client_name: str, idle_timeout_ms: int | None = None) -> Hello:
        """Return what a connection of this client begins with."""
        version = limits.PROTOCOL_VERSION
        return Hello(version, version, client_name, self.session_id, idle_timeout_ms)

    def welcome(self, welcome: Welcome) -> None:
        """Take the daemon's answer to a hello; another session than the one asked for begins a new generation.

        Unanswered writes of older generations are then in the hands of `admit`.
        """
        if welcome.session_id != self.session_id:
            self.session_id = welcome.session_id
            self.generation += 1
            self._newest, self._oldest = 0, 1
            self._unanswered.clear()
        if welcome.store_id != self.store_id:
            # Positions of another store's journal say nothing: a read would wait for one that may never come.
            self.store_id = welcome.store_id
            self.position = 0

    def forget(self) -> None:
        """Ask for a new session with the next hello: the daemon does not accept this one."""
        self.session_id = b""

    def admit(self, operation: Operation) -> bool:
        """Make an operation ready to be sent, a write by its number; False while the window has no room.

        Raises OutcomeUnknown for a write that may have been carried out in a session that the daemon has forgotten.
        """
        if not operation.is_write or (operation.number and operation.generation == self.generation):
            return True
        if operation.in_doubt:
            raise errors.OutcomeUnknown(
                "the daemon has forgotten this client's session; whether the write took effect is not known"
            )
        if self._newest + 1 - self._oldest >= limits.CLIENT_NUMBER_SPAN_MAX:
            return False
        self._newest += 1
        operation.number, operation.generation = self._newest, self.generation
        self._unanswered.add(self._newest)
        return True

    def header(self, operation: Operation, now: float) -> HeaderFields:
        """Return an admitted operation's header fields behind the request id, which is the connection's."""
        remaining_ms = round((operation.deadline - now) * 1_000)
        if not 1 <= remaining_ms <= limits.DEADLINE_MS_MAX:
            remaining_ms = 1 if remaining_ms < 1 else limits.DEADLINE_MS_MAX
        if operation.is_write:
            number = operation.number
            return number, 0, remaining_ms, operation.flags, number - self._oldest
        return 0, self.position, remaining_ms, 0, 0

    def answer(self, operation: Operation, position: int, reply: Reply) -> errors.RecollectdError | None:
        """Take the daemon's reply. Returns a refusal worth another attempt; the operation is then not done."""
        if type(reply) not in ANSWERS[type(operation.request)]:
            operation.error = errors.InvalidMessage(
                f"the daemon answered {type(operation.request).__name__} with {type(reply).__name__}"
            )
        elif isinstance(reply, ErrorReply):
            error = from_reply(reply)
            if isinstance(error, _RETRIED):
                return error
            if isinstance(error, errors.InvalidArgument) and error.field == "after":
                # A loss of power took asynchronous writes back: what this client waits for will never be there.
                self.position = 0
                return errors.Busy("the daemon has lost asynchronous writes of this client", retry_after_ms=1)
            # "Nothing was executed" is true of this attempt only; an earlier one may have been carried out.
            unsure = operation.in_doubt and isinstance(error, errors.CapacityError)
            operation.error = out_of_time(operation, error) if unsure else error
        else:
            operation.reply, operation.position = reply, position
            if operation.is_write and position > self.position:
                self.position = position
        self.abandon(operation)
        return None

    def abandon(self, operation: Operation) -> None:
        """Let an operation go that will not be sent again: its outcome is known, or its caller was told it is not."""
        if operation.number and operation.generation == self.generation:
            unanswered = self._unanswered
            unanswered.discard(operation.number)
            if operation.number == self._oldest:
                oldest, newest = self._oldest + 1, self._newest
                while oldest <= newest and oldest not in unanswered:
                    oldest += 1
                self._oldest = oldest


def from_reply(reply: ErrorReply) -> errors.RecollectdError:
    """Return the exception for an error reply."""
    return errors.from_wire(reply.code, reply.message, reply.field, reply.retry_after_ms, reply.error_id)


def out_of_time(operation: Operation, failure: errors.RecollectdError | None) -> errors.RecollectdError:
    """Return what a caller is told whose time is up: that a write may have happened, or else what kept it from it."""
    if operation.in_doubt and operation.is_write:
        told: errors.RecollectdError = errors.RequestTimeout(
            "no reply within the timeout; the write may or may not have taken effect"
        )
    elif failure is not None:
        return failure
    else:
        told = errors.RequestTimeout("no reply within the timeout")
    told.__cause__ = failure
    return told
