"""A state record as a sequential object: what each request answers, given the versions before it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple


class Register(NamedTuple):
    """version counts every change, deletions too; value None: absent."""

    version: int = 0
    value: str | None = None

    @property
    def visible(self) -> int:
        """The version a guard compares with: 0 where the record is absent."""
        return self.version if self.value is not None else 0


class Get(NamedTuple):
    """Answered by (version, value), or None where absent."""


class Put(NamedTuple):
    """Answered by the new version, or "conflict"."""

    value: str
    if_version: int | None = None


class Delete(NamedTuple):
    """Answered by whether there was a record, or "conflict"."""

    if_version: int | None = None


def step(state: Hashable, request: Any) -> tuple[Hashable, Any]:
    """Return the register after a request, and the answer."""
    assert isinstance(state, Register)
    if isinstance(request, Get):
        return state, None if state.value is None else (state.version, state.value)
    if request.if_version is not None and request.if_version != state.visible:
        return state, "conflict"
    if isinstance(request, Put):
        after = Register(state.version + 1, request.value)
        return after, after.version
    if state.value is None:
        return state, False
    return Register(state.version + 1, None), True
