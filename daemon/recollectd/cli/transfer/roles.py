"""Who is `user` and who is `assistant` in lines that name speakers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from recollectd.cli.transfer.failures import DataError

FIRST_SPEAKER: Final = "first-speaker"
AS_IS: Final = "as-is"


class Roles(Protocol):
    """A rule that turns a speaker into a role."""

    def role(self, number: int, conversation_id: str, speaker: Any) -> str:
        """Return the role of this line's speaker. Raises DataError."""

    def speaker(self, role: str) -> str | None:
        """Return who a role stands for, None where the role does not tell."""

    def user(self, conversation_id: str) -> str | None:
        """Return who is the user of this conversation, None where the rule does not depend on it."""


class NamedRoles:
    """Speakers by name; without names the line's own role, which must be user or assistant."""

    def __init__(self, roles: Mapping[str, str] | None = None) -> None:
        self._roles = dict(roles) if roles else {"user": "user", "assistant": "assistant"}

    def role(self, number: int, conversation_id: str, speaker: Any) -> str:
        """Return the role that belongs to this name."""
        role = self._roles.get(speaker) if isinstance(speaker, str) else None
        if role is None:
            raise DataError(number, f"the role is {speaker!r}; expected one of {', '.join(map(repr, self._roles))}")
        return role

    def speaker(self, role: str) -> str | None:
        """Return the only name of a role."""
        names = [name for name, named in self._roles.items() if named == role]
        return names[0] if len(names) == 1 else None

    def user(self, conversation_id: str) -> str | None:
        """Return None: names decide."""
        return None


class FirstSpeakerRoles:
    """The first distinct speaker of a conversation is the user, the second the assistant; there is no third.

    known_user: who an earlier import made the user of a conversation, or None; asked once for each conversation.
    """

    def __init__(self, known_user: Callable[[str], str | None]) -> None:
        self._known_user = known_user
        self._speakers: dict[str, tuple[str, str | None]] = {}

    def role(self, number: int, conversation_id: str, speaker: Any) -> str:
        """Return the speaker's role, which may be decided by this line."""
        if not isinstance(speaker, str) or not speaker:
            raise DataError(number, f"the speaker is {speaker!r}; expected a name")
        speakers = self._speakers.get(conversation_id)
        if speakers is None:
            speakers = (self._known_user(conversation_id) or speaker, None)
        user, assistant = speakers
        if speaker == user:
            role = "user"
        elif assistant in (None, speaker):
            assistant, role = speaker, "assistant"
        else:
            raise DataError(
                number,
                f"{speaker!r} is a third speaker of conversation {conversation_id!r}, after {user!r} and {assistant!r}",
            )
        self._speakers[conversation_id] = (user, assistant)
        return role

    def speaker(self, role: str) -> str | None:
        """Return None: it differs by conversation."""
        return None

    def user(self, conversation_id: str) -> str | None:
        """Return who is the user of a conversation that had a line."""
        speakers = self._speakers.get(conversation_id)
        return speakers[0] if speakers else None


def parse_roles(text: str, known_user: Callable[[str], str | None]) -> Roles:
    """Return the rule that `as-is`, `first-speaker` or `human=user,bot=assistant` names. Raises ValueError."""
    if text == AS_IS:
        return NamedRoles()
    if text == FIRST_SPEAKER:
        return FirstSpeakerRoles(known_user)
    names: dict[str, str] = {}
    for part in text.split(","):
        name, equals, role = part.rpartition("=")
        if not equals or role not in ("user", "assistant"):
            raise ValueError(f"expected {AS_IS}, {FIRST_SPEAKER}, or such as human=user,bot=assistant; not {part!r}")
        names[name] = role
    return NamedRoles(names)
