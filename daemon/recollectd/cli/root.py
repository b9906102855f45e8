"""The command `recollectd`: its subcommands by name, loaded when they are called, and the end of every command."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

import recollectd
from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import report, show

PROGRAM: Final = "recollectd"
HELP_WIDTH: Final = 62
"""Characters of a command's first sentence that fit beside its name."""

# name -> module below recollectd.cli and the command in it; by the headings of `recollectd --help`.
COMMANDS: Final[dict[str, dict[str, str]]] = {
    "The daemon": {
        "serve": "commands.serve:serve",
        "demo": "demo.command:demo",
        "ping": "commands.ping:ping",
        "status": "commands.daemon:status",
        "erase": "commands.daemon:erase",
        "config": "commands.config:config",
        "journal": "commands.journal:journal",
    },
    "Records": {
        "state": "commands.state:state",
        "log": "commands.log:log",
        "conversation": "commands.conversation:conversation",
        "memory": "commands.memory:memory",
        "search": "commands.search:search",
        "search-settings": "commands.search:search_settings",
        "vector-space": "commands.vector_space:vector_space",
        "namespaces": "commands.daemon:namespaces",
    },
    "For other programs": {
        "mcp": "commands.mcp:mcp",
    },
    "Moving in and out": {
        "import": "commands.transfer:import_command",
        "export": "commands.transfer:export_command",
    },
    "The shell": {
        "completion": "commands.completion:completion",
    },
}


class Root(click.Group):
    """Loads a command's module only when the command is called: `ping` must not pay for `serve`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return [name for commands in COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by name, or None."""
        for commands in COMMANDS.values():
            if cmd_name in commands:
                module, _, attribute = commands[cmd_name].partition(":")
                command: click.Command = getattr(importlib.import_module(f"recollectd.cli.{module}"), attribute)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        for heading, commands in COMMANDS.items():
            with formatter.section(heading):
                known = [(name, self.get_command(ctx, name)) for name in commands]
                formatter.write_dl([(name, found.get_short_help_str(HELP_WIDTH)) for name, found in known if found])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader of the output that went away is not worth a message."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # here, as click would end the process with a code of its own
            ctx.exit(show(error))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run the command line and end the process with the code of `recollectd.cli.exits`; no error gets past."""
        del standalone_mode
        try:
            ended = super().main(
                args,
                prog_name or PROGRAM,
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
            sys.stdout.flush()
        except (click.Abort, KeyboardInterrupt):
            report("interrupted")
            sys.exit(ExitCode.INTERRUPTED)
        except Exception as error:
            sys.exit(show(error))
        sys.exit(ended if isinstance(ended, int) else ExitCode.OK)


EPILOG: Final = "\b\nExit codes:\n" + "\n".join(f"  {code:3d}  {code.meaning}" for code in ExitCode)


SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(PROGRAM, cls=Root, epilog=EPILOG, context_settings=SETTINGS)
@click.version_option(recollectd.__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def root() -> None:
    """The memory of AI agents, as a daemon: state, logs, conversations, memories in one atomic store.

    `recollectd demo` shows it at work. `recollectd serve --data DIR` runs a daemon; the other commands speak to one
    by --socket, --url or the variable RECOLLECTD_URL.
    """
