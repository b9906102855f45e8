"""Switches of the environment that are no options: what only a build, a test or a measurement has a reason to set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

NATIVE_REQUIRED: Final = "RECOLLECTD_REQUIRE_NATIVE"
HOT_PATH: Final = "RECOLLECTD_HOT_PATH"


class Way(Enum):
    """Which way requests go. OFF: through Python; CACHE: the same with the value cache; ON, the default: natively where
    they can. All mean the same: `tests/hot` holds them equal.
    """

    ON = "on"
    CACHE = "cache"
    OFF = "off"


class Switches(NamedTuple):
    """native_required: a daemon does not start without all native modules."""

    native_required: bool
    hot_path: Way


def switches(environ: Mapping[str, str] = os.environ) -> Switches:
    """Return the switches as they are set. Raises ValueError for a value there is not."""
    try:
        hot_path = Way(environ.get(HOT_PATH, Way.ON.value))
    except ValueError:
        known = ", ".join(each.value for each in Way)
        raise ValueError(f"{HOT_PATH} must be one of {known}, not {environ[HOT_PATH]!r}") from None
    return Switches(environ.get(NATIVE_REQUIRED) == "1", hot_path)
