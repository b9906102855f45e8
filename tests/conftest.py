"""What every test may ask for on the command line, and how hypothesis runs."""

from __future__ import annotations

import os

import hypothesis
import pytest

from recollectd.config.environment import HOT_PATH, Way
from recollectd.testing import recollectd_client, recollectd_daemon

__all__ = ["recollectd_client", "recollectd_daemon"]  # the fixtures that users of the package get, too

# How long an example takes says more about the machine's other work than about the code.
hypothesis.settings.register_profile(
    "house", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("house")


# A daemon of the developer's is not what tests talk to, nor are its settings theirs.
for name in [name for name in os.environ if name.startswith("RECOLLECTD_")]:
    del os.environ[name]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("recollectd")
    group.addoption("--long", action="store_true", help="also run tests marked long: minutes each")
    group.addoption("--rewrite", action="store_true", help="write golden files anew instead of comparing with them")
    group.addoption(
        "--hot-path",
        choices=[way.value for way in Way],
        default=Way.ON.value,
        help="which way the reads of daemons go: natively, all through Python with the value cache, or without it",
    )


def pytest_configure(config: pytest.Config) -> None:
    os.environ[HOT_PATH] = config.getoption("--hot-path")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="needs --long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--rewrite"))
