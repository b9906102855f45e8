"""Without the native build a daemon must say what to do, not where a name was not found."""

from __future__ import annotations

import importlib

import pytest

import recollectd._native as native
from recollectd._native import checksum


def test_a_module_that_was_not_built_is_explained() -> None:
    with pytest.raises(ImportError, match="RECOLLECTD_REQUIRE_NATIVE=1") as failure:
        native.abacus  # type: ignore[attr-defined] # noqa: B018
    assert failure.value.name == "recollectd._native.abacus"


def test_private_names_are_not_taken_for_modules() -> None:
    assert not hasattr(native, "_abacus")


def test_built_modules_are_found() -> None:
    assert importlib.import_module("recollectd._native.checksum") is checksum
