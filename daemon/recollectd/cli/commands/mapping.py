"""The options of `import` and `export` that say how another program's lines are made."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from recollectd.cli.transfer.foreign import IMPORTED, ConversationMapping, ConversationRules, ValueMapping
from recollectd.cli.transfer.mapping import MappingError
from recollectd.cli.transfer.roles import parse_roles

if TYPE_CHECKING:
    from recollectd.client import Client

Command = Callable[..., Any]
Mapping = ConversationMapping | ValueMapping


class MappingOptions(NamedTuple):
    """What the command line says about other programs' lines; without `kind` they are recollectd's own."""

    kind: str | None
    pairs: Sequence[str]
    roles: str
    time_format: str | None
    keep_rest: bool
    empty_content: str | None
    id_field: str | None

    def mapping(self, client: Client, source: str) -> Mapping | None:
        """Return the mapping, None for recollectd's own lines. Raises UsageError."""
        try:
            if self.kind is None:
                return self._none()
            if self.kind == "conversation":
                return ConversationMapping(self.pairs, self._rules(client, source))
            self._only_for_conversations()
            return ValueMapping("state" if self.kind == "state" else "log", self.pairs)
        except MappingError as error:
            raise click.BadParameter(str(error), param_hint="--map") from None

    def _rules(self, client: Client, source: str) -> ConversationRules:
        def known_user(conversation_id: str) -> str | None:
            info = client.conversations.info(conversation_id)
            about = (info.metadata or {}).get(IMPORTED) if info is not None else None
            return about.get("user") if isinstance(about, dict) else None

        try:
            roles = parse_roles(self.roles, known_user)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--roles") from None
        return ConversationRules(source, roles, self.time_format, self.keep_rest, self.empty_content, self.id_field)

    def _none(self) -> None:
        if self.pairs:
            raise click.UsageError("--map goes with --as state, --as log or --as conversation.")
        self._only_for_conversations()

    def _only_for_conversations(self) -> None:
        if self.roles != "as-is" or self.time_format or self.keep_rest or self.empty_content or self.id_field:
            raise click.UsageError(
                "--roles, --time-format, --keep-rest, --empty-content and --id-field go with --as conversation."
            )


def with_mapping(function: Command) -> Command:
    """Give a command the options of a mapping; it gets them as `lines`."""

    @click.option("--as", "kind", type=click.Choice(["state", "log", "conversation"]), help="Lines of another program.")
    @click.option("--map", "pairs", multiple=True, metavar="TARGET=FIELD", help="Which field is what; repeatable.")
    @click.option("--roles", default="as-is", help="first-speaker, or human=user,bot=assistant. [default: as-is]")
    @click.option("--time-format", metavar="FORMAT", help="Of valid_at, as in strptime. [default: ISO-8601 or seconds]")
    @click.option("--keep-rest", is_flag=True, help="Fields that are not mapped go to the metadata, and come back.")
    @click.option("--empty-content", metavar="TEXT", help="What stands for empty content. [default: refuse it]")
    @click.option("--id-field", metavar="FIELD", help="Identifies a line without message_id. [default: its number]")
    @functools.wraps(function)
    def command(
        *,
        kind: str | None,
        pairs: Sequence[str],
        roles: str,
        time_format: str | None,
        keep_rest: bool,
        empty_content: str | None,
        id_field: str | None,
        **arguments: Any,
    ) -> Any:
        lines = MappingOptions(kind, pairs, roles, time_format, keep_rest, empty_content, id_field)
        return function(lines=lines, **arguments)

    return command
