"""The tests of langgraph-checkpoint-sqlite's checkpointers, with ours in their place."""

from __future__ import annotations

from typing import Final

import pytest

from recollectd.testing import Daemon
from support.foreign import cases
from support.langgraph_stand_ins import Place, foreign_tests

SQL: Final = "tests the SQL of SQLite's checkpointer"
EXCEPTIONS: Final = {
    "test_walk_step_looks_up_the_parent_by_primary_key": SQL,
    "test_search_where": SQL,
    "test_metadata_predicate": SQL,
    "test_metadata_predicate_sql_injection_prevention": SQL,
    "test_checkpoint_search_sql_injection_prevention": "wants names that are no SQL refused; here any name is a name",
    "test_informative_async_errors": "wants the blocking checkpointer not to be awaited; ours may be",
}


for name in (
    "test_delta_parent_walk",
    "test_get_delta_channel_history",
    "test_delta_channel_migration",
    "test_sqlite",
    "test_aiosqlite",
):
    found = cases(foreign_tests(name))
    assert not [each for each in found if each in globals() and each.lower().startswith("test")]
    globals().update(found)


@pytest.fixture(autouse=True)
def place(daemon: Daemon) -> None:
    Place.url = daemon.url
