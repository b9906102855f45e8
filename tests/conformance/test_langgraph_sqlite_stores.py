"""The tests of langgraph-checkpoint-sqlite's stores, with ours in their place."""

from __future__ import annotations

from typing import Final

import pytest

from recollectd.testing import Daemon
from support.foreign import cases
from support.langgraph_stand_ins import Place, foreign_tests

SQL: Final = "tests the SQL of SQLite's store"
EXCEPTIONS: Final = {
    "test_vector_store_initialization": "wants a table of vectors in SQLite",
    "test_nonnull_migrations": "tests the migrations of SQLite's tables",
    "test_sql_injection_vulnerability": "wants names that are no SQL refused; here any name is a name",
    "test_escape_glob_literal": SQL,
    "test_namespace_match_pattern": SQL,
    "test_list_namespaces_prefix_uses_indexable_condition": SQL,
}

globals().update(cases(foreign_tests("test_store")))


@pytest.fixture(autouse=True)
def place(daemon: Daemon) -> None:
    Place.url = daemon.url
