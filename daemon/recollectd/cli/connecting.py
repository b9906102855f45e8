"""What commands that speak to a daemon share: the options that say to which, and the open client."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from recollectd.cli.inputs import duration, parse_namespace

if TYPE_CHECKING:
    from recollectd.client import Client

NAMESPACE_DEFAULT: Final = ("default",)

# Opens a client: url (None: the client's default), namespace, timeout in seconds. The context's `obj` may be another.
Opener = Callable[[str | None, tuple[str, ...], float], "Client"]
Command = Callable[..., Any]


def open_client(url: str | None, namespace: tuple[str, ...], timeout: float) -> Client:
    """Open the client that commands use. Raises DaemonUnavailable at once where nobody listens.

    The client itself would wait as long as for a reply, which is right for a daemon that restarts under a long command,
    and tiresome for a person who mistyped a path.
    """
    from recollectd.client import Client
    from recollectd.client.address import parse_url, reachable
    from recollectd.protocol.errors import DaemonUnavailable

    address = parse_url(url)
    try:
        if address.path:
            with reachable(address.path) as path, socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(timeout)
                probe.connect(path)
        else:
            socket.create_connection((address.host, address.port), timeout).close()
    except OSError as error:
        raise DaemonUnavailable(f"no daemon answers at {address}: {error.strerror or error}") from None
    return Client(url, namespace=namespace, timeout=timeout, name="recollectd command line")


def with_client(function: Command) -> Command:
    """Give a command the options that find a daemon, and the open client as `client`."""

    @click.option("--socket", "socket_path", type=click.Path(path_type=Path), help="The daemon's Unix socket.")
    @click.option("--url", envvar="RECOLLECTD_URL", help="unix:///PATH or tcp://HOST:PORT. [default: RECOLLECTD_URL]")
    @click.option("--timeout", type=duration, metavar="DURATION", default=30.0, help="How long to wait. [default: 30s]")
    @functools.wraps(function)
    def command(
        *,
        socket_path: Path | None,
        url: str | None,
        timeout: float,
        namespace: Sequence[str] = (),
        **arguments: Any,
    ) -> Any:
        ctx = click.get_current_context()
        opener: Opener = ctx.obj or open_client
        labels = parse_namespace(namespace) if namespace else NAMESPACE_DEFAULT
        with opener(_address(ctx, socket_path, url), labels, timeout) as client:
            return function(client=client, **arguments)

    return command


def _address(ctx: click.Context, socket_path: Path | None, url: str | None) -> str | None:
    if socket_path is None:
        return url or None
    if ctx.get_parameter_source("url") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("Give --socket or --url, not both.", ctx)
    return f"unix://{socket_path.absolute()}"


def with_namespace(function: Command) -> Command:
    """Give a command the option that says in which namespace it works; goes above `with_client`."""
    return click.option(
        "-n",
        "--namespace",
        multiple=True,
        metavar="A/B",
        help="Labels separated by / (a label's own / is %2F, its % is %25); given again, they follow. "
        "[default: default]",
    )(function)


def with_json(function: Command) -> Command:
    """Give a command the option that prints JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)
