"""The entry point of the command `recollectd`."""

from __future__ import annotations

import sys

from recollectd.cli.exits import ExitCode


def main() -> int:
    """Run the command line; the process ends with a code of `recollectd.cli.exits`."""
    try:
        import click  # noqa: F401
    except ModuleNotFoundError:
        print("recollectd: the command line needs click: pip install 'recollectd[cli]'", file=sys.stderr)
        return ExitCode.UNAVAILABLE
    from recollectd.cli.root import root

    root.main()


if __name__ == "__main__":
    sys.exit(main())
