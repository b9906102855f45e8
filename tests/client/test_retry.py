"""When and how often to try again."""

from __future__ import annotations

import pytest

from recollectd.client.retry import Backoff, conflict_delay_s, random_fraction, worth_retrying
from recollectd.protocol import errors


def unavailable(cause: Exception | None) -> errors.DaemonUnavailable:
    error = errors.DaemonUnavailable()
    error.__cause__ = cause
    return error


def test_waits_double_up_to_a_bound_and_half_of_each_is_chance() -> None:
    longest, shortest = Backoff(lambda: 1.0), Backoff(lambda: 0.0)
    failure = unavailable(ConnectionRefusedError())
    assert [longest.delay_s(failure) for _ in range(9)] == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0]
    assert [shortest.delay_s(failure) for _ in range(2)] == [0.005, 0.01]


def test_the_daemons_own_time_is_kept_with_some_chance_on_top() -> None:
    assert Backoff(lambda: 0.0).delay_s(errors.Busy(retry_after_ms=200)) == 0.2
    assert Backoff(lambda: 1.0).delay_s(errors.Busy(retry_after_ms=200)) == 0.25


def test_a_lost_connection_is_replaced_at_once_the_first_time() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.delay_s(errors.ConnectionLost()) for _ in range(3)] == [0.0, 0.01, 0.02]


@pytest.mark.parametrize(
    ("failure", "worth"),
    [
        (unavailable(ConnectionRefusedError()), True),
        (unavailable(errors.ConnectionLost()), True),
        (unavailable(PermissionError()), False),
        (unavailable(None), False),
        (errors.ConnectionLost(), True),
        (errors.Busy(), True),
        (errors.ShuttingDown(), True),
        (errors.TooManyConnections(), True),
        (errors.DiskFull(), False),
        (errors.DeadlineExceeded(), False),
        (errors.RequestTimeout(), False),
        (errors.ClientClosed(), False),
        (errors.VersionConflict(), False),
        (errors.UnsupportedProtocol(), False),
    ],
)
def test_what_is_tried_again(failure: errors.RecollectdError, worth: bool) -> None:
    assert worth_retrying(failure) is worth
    if not worth:
        with pytest.raises(type(failure)):
            Backoff().delay_s(failure)


def test_conflicting_transactions_part() -> None:
    assert conflict_delay_s(1, lambda: 1.0) == 0.004
    assert conflict_delay_s(100, lambda: 1.0) == 0.25
    assert conflict_delay_s(100, lambda: 0.0) == 0.0
    assert all(0 <= random_fraction() < 1 for _ in range(100))
