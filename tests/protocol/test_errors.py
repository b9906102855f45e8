"""The table of errors: complete, without doubles, and the same on both sides of the wire."""

from __future__ import annotations

from typing import Final

import pytest

from recollectd.protocol import errors

RANGES: Final[dict[type, int]] = {
    errors.ProtocolError: 1,
    errors.RequestError: 2,
    errors.CapacityError: 3,
    errors.ClientError: 8,
    errors.InternalError: 9,
}


def test_codes_and_names_are_given_once() -> None:
    rows = [error.row for error in errors.ERRORS]
    assert len({row.code for row in rows}) == len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize("error", errors.ERRORS, ids=lambda error: error.row.name)
def test_a_row_is_complete(error: type[errors.RecollectdError]) -> None:
    assert [RANGES[base] for base in error.__mro__ if base in RANGES] == [error.row.code // 100]
    assert error.row.name == error.row.name.upper()
    assert error.row.meaning.endswith(".")
    assert error.row.hint.endswith(".")
    assert error.row.name.replace("_", "").lower() == error.__name__.lower().removesuffix("error")


@pytest.mark.parametrize("error", errors.ERRORS, ids=lambda error: error.row.name)
def test_the_wire_gives_the_same_error(error: type[errors.RecollectdError]) -> None:
    received = errors.from_wire(error.row.code, "what happened", "key", 250, "e-1")
    assert type(received) is error
    assert (received.code, received.message, received.field) == (error.row.code, "what happened", "key")
    assert (received.retry_after_ms, received.error_id) == (250, "e-1")
    assert str(received) == "what happened (field key) [error id e-1]"


def test_a_code_of_tomorrow_is_still_an_error() -> None:
    received = errors.from_wire(299, "something new", "", 0, "")
    assert type(received) is errors.RecollectdError
    assert "299" in str(received)
    assert "something new" in str(received)


def test_an_error_without_words_says_what_it_means() -> None:
    assert str(errors.Busy()) == errors.Busy.row.meaning
