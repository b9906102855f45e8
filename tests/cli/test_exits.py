"""Every error ends a command with a code that says what a script may conclude."""

from __future__ import annotations

import pytest

from recollectd.cli.exits import EXIT_BY_ERROR, ExitCode, exit_code_of
from recollectd.protocol import errors


@pytest.mark.parametrize("error", errors.ERRORS, ids=lambda error: error.row.name)
def test_every_error_of_the_protocol_has_a_code_of_its_kind(error: type[errors.RecollectdError]) -> None:
    code = exit_code_of(error())
    is_defect = issubclass(
        error, errors.InternalError | errors.NumberReused | errors.ClientClosed | errors.UsedAfterFork
    )
    assert (code is ExitCode.INTERNAL) == is_defect
    if error.row.retry is errors.Retry.LATER:
        assert code in (ExitCode.TEMPORARY, ExitCode.UNAVAILABLE)
    if error.row.retry is errors.Retry.CHANGED:
        assert code is ExitCode.CONFLICT


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Busy(), 75),
        (errors.NotFound(), 66),
        (errors.VersionConflict(), 79),
        (errors.InvalidArgument(), 65),
        (errors.DaemonUnavailable(), 69),
        (errors.UnsupportedProtocol(), 76),
        (FileNotFoundError(), 66),
        (PermissionError(), 77),
        (IsADirectoryError(), 74),
        (ValueError(), 70),
    ],
)
def test_codes_do_not_change(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code


def test_every_code_is_told_and_none_stands_twice() -> None:
    assert len({int(code) for code in ExitCode}) == len(ExitCode.__members__)
    assert all(code.meaning for code in ExitCode)
    assert set(EXIT_BY_ERROR.values()) <= set(ExitCode)
