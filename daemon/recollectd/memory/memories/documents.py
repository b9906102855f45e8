"""What the keyword view reads of a memory: three texts, from narrow to wide.

A memory said in a conversation is indexed with its date and with what was said around it: the words that tell what it
is about are as often in the memories before it. Context at indexing time is worth more than an embedding; dates and
windows that end where the sitting ends are worth some more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from recollectd.memory.memories.heads import MemoryBody

OWN: Final = "own"
CONTEXT: Final = "context"
WIDE: Final = "wide"
FIELDS: Final = (OWN, CONTEXT, WIDE)
REACH: Final = 2
"""How many memories before, and for the widest text behind, a memory are read with it."""

_SITTING_US: Final = 6 * 3_600 * 1_000_000
_SECOND_US: Final = 1_000_000


class Neighbour(NamedTuple):
    """A memory of the conversation, by its place."""

    position: int
    body: MemoryBody


def texts_of(body: MemoryBody, position: int, around: Sequence[Neighbour]) -> tuple[str | None, ...]:
    """Return the texts of FIELDS. around: memories of the conversation near it, in order; itself may be among them."""
    date = date_words(body.valid_at)
    own = f"{date}{body.text}"
    near = [each for each in around if each.position != position and same_sitting(body, each.body)]
    before = [each.body.text for each in near if position - REACH <= each.position < position]
    behind = [each.body.text for each in near if position < each.position <= position + REACH]
    context = date + "\n".join((*before, body.text))
    return own, context, date + "\n".join((*before, body.text, *behind))


def same_sitting(one: MemoryBody, other: MemoryBody) -> bool:
    """Tell whether two memories of a conversation were said close to each other, as far as that is known."""
    if one.valid_at is None or other.valid_at is None:
        return one.valid_at is other.valid_at
    return abs(one.valid_at - other.valid_at) <= _SITTING_US


def date_words(valid_at: int | None) -> str:
    """Return a day as words that queries use, such as `8 May 2023 `; empty where nobody told."""
    if valid_at is None:
        return ""
    day = datetime.fromtimestamp(valid_at // _SECOND_US, UTC)
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year} "


_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
