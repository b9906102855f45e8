"""recollectd serve: the daemon itself."""

from __future__ import annotations

import os
from pathlib import Path

import click

from recollectd.cli import daemon_packages
from recollectd.cli.commands.options import read, with_options


@click.command()
@with_options
@click.option("--exit-when-idle", metavar="SECONDS", help="End after so long without a connection.")
def serve(flags: dict[str, object], file: Path | None, exit_when_idle: str | None) -> int:
    """Run the daemon until SIGTERM.

    A second SIGTERM ends it at once. It logs to standard error.

    Options come from flags, the environment (RECOLLECTD_<SECTION>_<OPTION>), the file, and their defaults, in this
    order: see `recollectd config show`.
    """
    if exit_when_idle is not None:
        flags["server.exit_when_idle_s"] = exit_when_idle
    options = read(flags, file)
    if not options.data.directory:
        raise click.UsageError("Where is the data? Give --data DIR, or set data.directory.")
    # Read when numpy is first imported. What it computes here is small: waking other threads for it costs more.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with daemon_packages.needed("the daemon"):
        from recollectd.server.main import run
    return run(options)
