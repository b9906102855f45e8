"""The compiled modules, built from native/; each has its contract in a .pyi file here.

Ask for them as `from recollectd._native import journal_writer`: where the native build is missing, that says what to
do about it.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if not TYPE_CHECKING:

    def __getattr__(name: str) -> ModuleType:
        """Import the compiled module of this name, or explain why there is none."""
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
            raise missing(name) from error


def missing(name: str) -> ImportError:
    """Return the error that says how to get the compiled module `name`."""
    return ImportError(
        f"recollectd was installed without its native module {name!r}, which the daemon needs. Install a C++ compiler "
        f"and the Python headers (Debian: build-essential, python3-dev), then run: "
        f'RECOLLECTD_REQUIRE_NATIVE=1 pip install --force-reinstall "recollectd[daemon]"',
        name=f"{__name__}.{name}",
    )
