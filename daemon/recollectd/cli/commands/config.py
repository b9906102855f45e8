"""recollectd config: the daemon's options, their values and where these come from."""

from __future__ import annotations

from pathlib import Path

import click

from recollectd.cli.commands.options import read, with_options
from recollectd.cli.connecting import with_json
from recollectd.cli.output import count, dumps, print_table
from recollectd.config import OPTIONS, origin_of, template, value_of


@click.group()
def config() -> None:
    """Show and check the daemon's options."""


@config.command()
@with_options
@click.option("--template", "as_template", is_flag=True, help="Print the commented file with every default.")
@with_json
def show(flags: dict[str, object], file: Path | None, as_template: bool, as_json: bool) -> None:
    """Show every option: its value, and whether flag, environment, file or default decided."""
    if as_template:
        click.echo(template(), nl=False)
        return
    options = read(flags, file)
    if as_json:
        shown = {
            declared.path: {"value": value_of(options, declared), "origin": origin_of(options, declared.path)}
            for declared in OPTIONS
        }
        click.echo(dumps(shown))
        return
    print_table(
        (
            (declared.path, dumps(value_of(options, declared)), origin_of(options, declared.path))
            for declared in OPTIONS
        ),
        ("option", "value", "origin"),
    )


@config.command()
@with_options
def check(flags: dict[str, object], file: Path | None) -> None:
    """Check the options without starting anything. Ends with 78 when they are not acceptable."""
    options = read(flags, file)
    click.echo(f"acceptable: {count(len(options.origins), 'option')} set, the others at their defaults")
