"""openai-agents' own tests of its sessions, with ours in place of SQLiteSession."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import agents
import pytest

from recollectd.adapters.openai_agents import RecollectdSession
from recollectd.testing import Daemon
from support.foreign import Sdist, cases, load

SUITE: Final = Sdist("openai-agents", "0.24.0", "4b4b285f4fed81fdf1b4ac426a9101658d9cd29b4fb1aaeee18f639b77e704e3")

_daemons: list[Daemon] = []


class SQLiteSession(RecollectdSession):
    """Ours with their constructor; a file is a namespace, and `:memory:` one for each session."""

    def __init__(self, session_id: str, db_path: str | Path = ":memory:", **options: Any) -> None:
        file = f"{id(self)}" if str(db_path) == ":memory:" else str(db_path)
        namespace = ("conformance", hashlib.sha256(file.encode()).hexdigest())
        super().__init__(session_id, _daemons[0].client(namespace=namespace), **options)
        self._owned = True


_tests: Final = SUITE.fetch() / "tests"
_suite: Final = load(
    _tests / "memory/test_session.py", replacing={"tests.test_responses": load(_tests / "test_responses.py")}
)
vars(_suite)["SQLiteSession"] = SQLiteSession
globals().update(cases(_suite) | {"SQLiteSession": SQLiteSession})

_CONNECTIONS: Final = "looks at SQLite's connections and threads"
_LOCKS: Final = "looks at SQLite's locks and transactions"
_CORRUPT: Final = "writes broken rows into SQLite's table"

EXCEPTIONS: Final = {
    "test_sqlite_session_close_closes_worker_thread_connections": _CONNECTIONS,
    "test_sqlite_session_reaps_connections_from_exited_worker_threads": _CONNECTIONS,
    "test_sqlite_session_closes_retired_connections_before_the_next_allocation": _CONNECTIONS,
    "test_sqlite_session_keeps_connections_of_live_worker_threads": _CONNECTIONS,
    "test_sqlite_session_rollback_failure_evicts_connection": _CONNECTIONS,
    "test_sqlite_session_close_retries_quarantined_connection": _CONNECTIONS,
    "test_sqlite_session_post_commit_cancellation_propagates_after_known_outcome": _CONNECTIONS,
    "test_sqlite_session_pop_item_skips_corrupt_most_recent": _CORRUPT,
    "test_sqlite_session_pop_item_returns_none_after_dropping_only_corrupt_rows": _CORRUPT,
    "test_sqlite_session_get_items_limit_skips_corrupt_newest_rows": _CORRUPT,
    "test_sqlite_session_get_items_session_settings_limit_skips_corrupt_rows": _CORRUPT,
    "test_sqlite_session_file_lock_is_shared_across_instances": _LOCKS,
    "test_sqlite_session_failed_add_items_releases_write_lock": _LOCKS,
    "test_sqlite_session_failed_clear_session_rolls_back": _LOCKS,
    "test_sqlite_session_failed_pop_item_releases_write_lock": _LOCKS,
}


@pytest.fixture(autouse=True)
def _sessions_have_a_daemon(daemon: Daemon) -> Iterator[None]:
    agents.set_tracing_disabled(True)  # nothing is told to anybody outside
    _daemons[:] = [daemon]
    yield
    _daemons.clear()
