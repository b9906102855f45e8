"""What a session's numbered writes came to, for who sends one again."""

from typing import final

@final
class Outcome:
    """What a numbered write came to: digest of the request, its commit, the reply's bytes."""

    def __new__(cls, digest: int = 0, seq: int = 0, reply: bytes = b"") -> Outcome: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    @property
    def digest(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def reply(self) -> bytes: ...

@final
class Session:
    """One session. Numbers below `floor` are forgotten; used_at: journal time of the last write, in microseconds."""

    def __new__(cls, principal: str, *, window_numbers: int, bytes_max: int) -> Session:
        """Remember at most so many numbers below the highest, and so many bytes of replies."""
    @property
    def principal(self) -> str: ...
    @property
    def floor(self) -> int: ...
    @property
    def highest(self) -> int: ...
    @property
    def used_at(self) -> int: ...
    @property
    def outcomes(self) -> dict[int, Outcome]: ...
    def restore(self, floor: int, highest: int, used_at: int, outcomes: dict[int, Outcome]) -> None:
        """Take up what was remembered before."""
    def remember(self, number: int, floor: int, outcome: Outcome, time: int) -> None:
        """Add an outcome; forget those below the floor that the write brought, and below the window."""
