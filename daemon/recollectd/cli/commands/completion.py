"""recollectd completion: the shell's completion of commands and options."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  eval "$(recollectd completion bash)"      in ~/.bashrc
    zsh:   eval "$(recollectd completion zsh)"       in ~/.zshrc
    fish:  recollectd completion fish | source       in config.fish
    """
    from click.shell_completion import get_completion_class

    program = ctx.find_root().info_name or "recollectd"
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, program, f"_{program.upper()}_COMPLETE").source())
