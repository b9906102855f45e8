"""How an option is declared, and how declarations are read back.

An option is a field of a section's Struct; everything else there is to say about it stands in the field's annotation.
The checks, the messages, the commented file in `deploy/` and `config show` all read it from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the groups of options."""


class Text(NamedTuple):
    """What is said about an option, beside its type, bounds and default."""

    meaning: str
    unit: str
    raising: str
    lowering: str
    unsure: str
    check: Callable[[Any], None] | None


def option(
    meaning: str,
    *,
    raising: str,
    lowering: str,
    unsure: str,
    unit: str = "",
    ge: int | None = None,
    le: int | None = None,
    pattern: str | None = None,
    check: Callable[[Any], None] | None = None,
) -> Meta:
    """Return the annotation that declares an option.

    raising, lowering: what follows from a larger and from a smaller value; for options without an order, from the one
    choice and from the other. unsure: the advice for who has no reason of their own. check: raises ValueError for a
    value that type and bounds cannot refuse.
    """
    extra = {"text": Text(meaning, unit, raising, lowering, unsure, check)}
    return Meta(ge=ge, le=le, extra=extra) if pattern is None else Meta(pattern=pattern, extra=extra)


class Option(NamedTuple):
    """One option, as declared."""

    section: str
    name: str
    annotation: Any
    default: Any
    text: Text
    meta: Meta

    @property
    def path(self) -> str:
        """`section.option`, as on the command line."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets the option."""
        return f"RECOLLECTD_{self.section}_{self.name}".upper()

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        bare = get_args(self.annotation)[0]
        if get_origin(bare) is Literal:
            return "one of " + ", ".join(map(str, get_args(bare)))
        if bare is int or bare is float:
            kind = "an integer" if bare is int else "a number"
            return f"{kind} from {self.meta.ge} to {self.meta.le} {self.text.unit}"
        if get_origin(bare) is list:
            return f"a list of {self.text.unit}"
        return self.text.unit

    def parse(self, given: object) -> Any:
        """Return `given` as the option's type; text also stands for numbers and, comma separated, for lists.

        Raises ValueError saying what was expected.
        """
        is_list = get_origin(get_args(self.annotation)[0]) is list
        if isinstance(given, str) and is_list:
            given = [part.strip() for part in given.split(",") if part.strip()]
        try:
            value = msgspec.convert(given, self.annotation, strict=not isinstance(given, str))
        except msgspec.ValidationError:
            raise ValueError(f"expected {self.expected}") from None
        if self.text.check is not None:
            self.text.check(value)
        return value


def options_of(tree: type[Struct]) -> tuple[Option, ...]:
    """Return every option of a tree of sections, in the order declared."""
    found: list[Option] = []
    sections = get_type_hints(tree)
    for section in msgspec.structs.fields(tree):
        kind = sections[section.name]
        if not (isinstance(kind, type) and issubclass(kind, Section)):
            continue
        hints = get_type_hints(kind, include_extras=True)
        for field in msgspec.structs.fields(kind):
            annotation = hints[field.name]
            assert get_origin(annotation) is Annotated, f"{section.name}.{field.name} is declared without its text"
            meta = annotation.__metadata__[0]
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            found.append(Option(section.name, field.name, annotation, default, meta.extra["text"], meta))
    return tuple(found)
