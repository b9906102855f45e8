"""From flags, environment and file to a `Config`: flag over environment over file over default."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from recollectd.config.declare import Option
from recollectd.config.serving import SOCKET_PATH_BYTES_MAX
from recollectd.config.tree import OPTION_BY_PATH, OPTIONS, Config

VARIABLE_PREFIX: Final = "RECOLLECTD_"
SECTIONS: Final = tuple(dict.fromkeys(declared.section for declared in OPTIONS))
DEFAULT: Final = "default"


class ConfigError(Exception):
    """The options are not acceptable. problems: one sentence each, naming the option and where it was given."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class Given(NamedTuple):
    """A value somebody gave for an option, and where."""

    value: object
    origin: str


def load(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Config:
    """Return the options in force, each checked, with its origin.

    flags: values by `section.option`; text stands for numbers and, comma separated, for lists. environ: variables
    named RECOLLECTD_<SECTION>_<OPTION>; others are left alone unless they begin with a section's name. file: TOML,
    one table per section. Raises ConfigError with everything that is wrong at once, OSError when the file cannot be
    read.
    """
    problems: list[str] = []
    given = _from_file(file, problems) if file is not None else {}
    given.update(_from_environment(environ or {}, problems))
    given.update(_from_flags(flags or {}, problems))
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for path, (value, origin) in given.items():
        declared = OPTION_BY_PATH[path]
        try:
            values[declared.section][declared.name] = declared.parse(value)
        except ValueError as error:
            problems.append(f"{path} = {value!r} ({origin}): {error}")
    if problems:
        raise ConfigError(problems)
    config = _build(values, {path: origin for path, (_, origin) in given.items()})
    problems.extend(_contradictions(config))
    if problems:
        raise ConfigError(problems)
    return config


def _from_file(file: Path, problems: list[str]) -> dict[str, Given]:
    origin = f"file {file}"
    try:
        document = tomllib.loads(file.read_bytes().decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{origin} is not TOML: {error}")
        return {}
    given: dict[str, Given] = {}
    for section, table in document.items():
        if section not in SECTIONS:
            problems.append(f"{origin}: unknown section [{section}]{_nearest(section, SECTIONS)}")
        elif not isinstance(table, dict):
            problems.append(f"{origin}: {section} must be a table, as in [{section}]")
        else:
            given.update(_known({f"{section}.{name}": value for name, value in table.items()}, origin, problems))
    return given


def _from_flags(flags: Mapping[str, object], problems: list[str]) -> dict[str, Given]:
    return _known(flags, "flag", problems)


def _known(values: Mapping[str, object], origin: str, problems: list[str]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for path, value in values.items():
        if path in OPTION_BY_PATH:
            given[path] = Given(value, origin)
        else:
            problems.append(f"{origin}: unknown option {path}{_nearest(path, OPTION_BY_PATH)}")
    return given


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Given]:
    by_variable: dict[str, Option] = {declared.variable: declared for declared in OPTIONS}
    given: dict[str, Given] = {}
    for name, value in sorted(environ.items()):
        if name in by_variable:
            given[by_variable[name].path] = Given(value, f"environment {name}")
        elif name.startswith(tuple(f"{VARIABLE_PREFIX}{section.upper()}_" for section in SECTIONS)):
            problems.append(f"environment: unknown option {name}{_nearest(name, by_variable)}")
    return given


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _build(values: Mapping[str, Mapping[str, Any]], origins: dict[str, str]) -> Config:
    defaults = Config()
    sections = {name: type(getattr(defaults, name))(**given) for name, given in values.items()}
    return Config(**sections, origins=origins)


def _contradictions(config: Config) -> Iterable[str]:
    """Yield what is wrong with values that are each acceptable by themselves."""
    if config.data.directory or config.listen.socket:
        length = len(os.fsencode(config.socket_path))
        if length > SOCKET_PATH_BYTES_MAX:
            yield (
                f"listen.socket ({origin_of(config, 'listen.socket')}): {config.socket_path} has {length} bytes, and a "
                f"Unix socket's path at most {SOCKET_PATH_BYTES_MAX}; give a shorter one"
            )
    if config.server.batch_bytes_max > config.server.unapplied_bytes_max:
        yield (
            f"server.batch_bytes_max ({origin_of(config, 'server.batch_bytes_max')}) is larger than "
            f"server.unapplied_bytes_max ({origin_of(config, 'server.unapplied_bytes_max')}): no full batch would be "
            "accepted"
        )


def origin_of(config: Config, path: str) -> str:
    """Return where an option's value came from: flag, environment NAME, file PATH, or default."""
    return config.origins.get(path, DEFAULT)


def value_of(config: Config, declared: Option) -> Any:
    """Return an option's value in force."""
    return getattr(getattr(config, declared.section), declared.name)
