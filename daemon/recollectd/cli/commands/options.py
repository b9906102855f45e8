"""How commands that take the daemon's options read them: --config, --set, and flags of their own."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import Failure
from recollectd.config import Config, ConfigError, load

Command = Callable[..., Any]


def with_options(function: Command) -> Command:
    """Give a command the flags of the daemon's options; it gets them as `flags` and `file`, for `read`."""

    @click.option("--data", metavar="DIR", help="The data folder (data.directory).")
    @click.option("--socket", metavar="PATH", help="The Unix socket (listen.socket). [default: in the data folder]")
    @click.option("--listen", metavar="HOST:PORT", multiple=True, help="A TCP address too (listen.tcp); repeatable.")
    @click.option("--config", "file", type=click.Path(path_type=Path), help="A file of options, TOML.")
    @click.option("--set", "settings", metavar="SECTION.OPTION=VALUE", multiple=True, help="Any option; repeatable.")
    @functools.wraps(function)
    def command(
        *,
        data: str | None,
        socket: str | None,
        listen: Sequence[str],
        settings: Sequence[str],
        file: Path | None,
        **arguments: Any,
    ) -> Any:
        flags: dict[str, object] = dict(_setting(setting) for setting in settings)
        own: dict[str, object] = {"data.directory": data, "listen.socket": socket, "listen.tcp": list(listen) or None}
        flags.update({path: value for path, value in own.items() if value is not None})
        return function(flags=flags, file=file, **arguments)

    return command


def _setting(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r}: expected SECTION.OPTION=VALUE", param_hint="--set")
    return path, value


def read(flags: dict[str, object], file: Path | None) -> Config:
    """Return the options in force. Raises Failure with everything that is wrong with them."""
    try:
        return load(flags, os.environ, file)
    except ConfigError as error:
        raise Failure(
            "\n".join(error.problems),
            hint="`recollectd config show --template` explains every option",
            code=ExitCode.CONFIGURATION,
        ) from None
