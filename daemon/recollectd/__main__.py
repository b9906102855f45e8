"""`python -m recollectd` is the command `recollectd`."""

import sys

from recollectd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
