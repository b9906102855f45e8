"""recollectd vector-space: vector spaces, and moving memories and messages into another one."""

from __future__ import annotations

import importlib
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recollectd.cli.connecting import with_client, with_json, with_namespace
from recollectd.cli.exits import ExitCode
from recollectd.cli.failures import Failure
from recollectd.cli.output import print_json, print_table
from recollectd.cli.progress import progress_bar

if TYPE_CHECKING:
    from recollectd.client import Client


@click.group("vector-space")
def vector_space() -> None:
    """Create, list, rename and drop vector spaces."""


@vector_space.command()
@click.argument("name")
@click.argument("dimensions", type=click.IntRange(min=1))
@click.option(
    "--metric",
    type=click.Choice(("cosine", "dot", "l2")),
    default="cosine",
    show_default=True,
    help="What makes vectors near.",
)
@click.option(
    "--precision",
    type=click.Choice(("f32", "bf16", "i8")),
    default="i8",
    show_default=True,
    help="How the index keeps components.",
)
@click.option("--model", default="", help="What makes the vectors.")
@with_json
@with_namespace
@with_client
def create(client: Client, name: str, dimensions: int, metric: Any, precision: Any, model: str, as_json: bool) -> None:
    """Create a vector space for vectors of so many DIMENSIONS."""
    client.vector_spaces.create(name, dimensions, metric=metric, precision=precision, model=model)
    if as_json:
        print_json({"name": name, "dimensions": dimensions})
    else:
        click.echo(f"created {name}")


@vector_space.command("list")
@with_json
@with_namespace
@with_client
def list_spaces(client: Client, as_json: bool) -> None:
    """List vector spaces and aliases."""
    found = client.vector_spaces.list()
    if as_json:
        for each in found:
            print_json(each)
        return
    print_table(
        ((each.name, each.alias_of, each.dimensions, each.metric, each.precision, each.model) for each in found),
        ("space", "stands for", "dimensions", "metric", "precision", "model"),
    )


@vector_space.command()
@click.argument("alias")
@click.argument("space")
@with_json
@with_namespace
@with_client
def alias(client: Client, alias: str, space: str, as_json: bool) -> None:
    """Let the name ALIAS stand for SPACE from now on."""
    client.vector_spaces.alias(alias, space)
    if as_json:
        print_json({"alias": alias, "space": space})
    else:
        click.echo(f"{alias} stands for {space}")


@vector_space.command()
@click.argument("name")
@with_json
@with_namespace
@with_client
def drop(client: Client, name: str, as_json: bool) -> None:
    """Drop a vector space with all its vectors, or an alias."""
    dropped = client.vector_spaces.drop(name)
    if as_json:
        print_json({"name": name, "dropped": dropped})
    else:
        click.echo(f"dropped {name}" if dropped else f"there was no vector space {name}")


@vector_space.command()
@click.argument("space")
@click.option(
    "--embedder", metavar="MODULE:NAME", help="A callable, also of a module here: a list of texts to as many vectors."
)
@click.option(
    "--command", metavar="COMMAND", help="A program: JSON texts, a line each, to JSON vectors; run for each batch."
)
@click.option("--alias", help="Let this name stand for SPACE once nothing lacks a vector there.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=64, show_default=True, help="Texts embedded at once, at most."
)
@with_json
@with_namespace
@with_client
def reembed(
    client: Client,
    space: str,
    embedder: str | None,
    command: str | None,
    alias: str | None,
    batch: int,
    as_json: bool,
) -> None:
    """Embed the text of every memory, and of every message that is searched, without a vector in SPACE.

    Broken off, it goes on where it was.
    """
    if (embedder is None) is (command is None):
        raise click.UsageError("Give --embedder or --command.")
    embed = _imported(embedder) if embedder is not None else _program(command or "")
    total = client.vector_spaces.lacking(space)
    with progress_bar("embedding", total) as bar:
        embedded = client.vector_spaces.reembed(
            space, embed, alias=alias, batch=batch, progress=lambda done, _: bar.reach(done)
        )
    if as_json:
        print_json({"space": space, "embedded": embedded, "alias": alias})
    else:
        click.echo(f"embedded {embedded}" + (f"; {alias} stands for {space}" if alias is not None else ""))


def _imported(path: str) -> Callable[[list[str]], Any]:
    module, sign, attribute = path.partition(":")
    if not (module and sign and attribute):
        raise click.BadParameter("must be MODULE:NAME", param_hint="--embedder")
    sys.path.append(str(Path.cwd()))  # behind everything installed
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise click.BadParameter(str(error), param_hint="--embedder") from None
    if not callable(found):
        raise click.BadParameter(f"{path} cannot be called", param_hint="--embedder")

    def embed(texts: list[str]) -> Any:
        try:
            return found(texts)
        except Exception as error:
            raise _failed(f"{path} failed: {type(error).__name__}: {error}") from error

    return embed


def _program(command: str) -> Callable[[list[str]], Any]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--command") from None
    if not words:
        raise click.BadParameter("is empty", param_hint="--command")

    def embed(texts: list[str]) -> list[Any]:
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        try:
            done = subprocess.run(words, input=lines, stdout=subprocess.PIPE, text=True, check=True)
            return [json.loads(line) for line in done.stdout.splitlines() if line]
        except subprocess.CalledProcessError as error:
            raise _failed(f"{words[0]} ended with {error.returncode}") from None
        except (OSError, ValueError) as error:
            raise _failed(f"{words[0]} failed: {error}") from None

    return embed


def _failed(message: str) -> Failure:
    return Failure(
        message, hint="what was embedded stays; the same command goes on from there", code=ExitCode.DATA_ERROR
    )
