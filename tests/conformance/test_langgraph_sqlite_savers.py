"""The tests of langgraph-checkpoint-sqlite's checkpointers, with ours in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from recollectd.testing import Daemon
from support.foreign import Sdist, cases, load, stand_in
from support.langgraph_stand_ins import AsyncSqliteSaver, Place, SqliteSaver

SUITE: Final = Sdist(
    "langgraph-checkpoint-sqlite", "3.1.2", "4e3f376fa6f192d6ad2a1a4643b039986f1593552ef870e9e45281575de6fbf2"
)
REPLACING: Final = {
    "langgraph.checkpoint.sqlite": stand_in("langgraph.checkpoint.sqlite", SqliteSaver=SqliteSaver),
    "langgraph.checkpoint.sqlite.aio": stand_in("langgraph.checkpoint.sqlite.aio", AsyncSqliteSaver=AsyncSqliteSaver),
    "langgraph.checkpoint.sqlite._delta": stand_in("langgraph.checkpoint.sqlite._delta", DELTA_STAGE1_SQL=""),
    "langgraph.checkpoint.sqlite.utils": stand_in(
        "langgraph.checkpoint.sqlite.utils", _metadata_predicate=None, search_where=None
    ),
}
SQL: Final = "tests the SQL of SQLite's checkpointer"
EXCEPTIONS: Final = {
    "test_walk_step_looks_up_the_parent_by_primary_key": SQL,
    "test_search_where": SQL,
    "test_metadata_predicate": SQL,
    "test_metadata_predicate_sql_injection_prevention": SQL,
    "test_checkpoint_search_sql_injection_prevention": "wants names that are no SQL refused; here any name is a name",
    "test_informative_async_errors": "wants the blocking checkpointer not to be awaited; ours may be",
}


def _load(name: str) -> dict[str, object]:
    path: Path = SUITE.fetch() / "tests" / f"{name}.py"
    return cases(load(path, replacing=REPLACING))


globals().update(_load("test_delta_parent_walk"))
globals().update(_load("test_get_delta_channel_history"))
globals().update(_load("test_delta_channel_migration"))
globals().update(_load("test_sqlite"))
globals().update(_load("test_aiosqlite"))


@pytest.fixture(autouse=True)
def place(daemon: Daemon) -> None:
    Place.url = daemon.url
