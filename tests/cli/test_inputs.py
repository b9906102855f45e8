"""What stands on the command line: namespaces, times, durations."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd.cli.inputs import duration, parse_namespace, parse_time, show_namespace, time

LABELS = st.lists(st.text(alphabet=st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5).map(tuple)


@given(LABELS)
def test_a_namespace_comes_back_whatever_its_labels_hold(labels: tuple[str, ...]) -> None:
    assert parse_namespace([show_namespace(labels)]) == labels


@pytest.mark.parametrize(
    ("parts", "labels"),
    [
        (["acme/agent-7"], ("acme", "agent-7")),
        (["acme", "agent-7"], ("acme", "agent-7")),
        (["acme/a", "b"], ("acme", "a", "b")),
        (["a%2Fb/50%25"], ("a/b", "50%")),
        (["a%2fb"], ("a/b",)),
    ],
)
def test_ways_to_write_a_namespace(parts: list[str], labels: tuple[str, ...]) -> None:
    assert parse_namespace(parts) == labels


@pytest.mark.parametrize("part", ["", "a//b", "/a", "a/", "50%", "%2", "%41", "a%"])
def test_namespaces_that_are_refused(part: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_namespace([part])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("1.5s", 1.5), ("250ms", 0.25), ("2m", 120.0), ("12h", 43_200.0), ("7d", 604_800.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1w", "-1", "nan", "inf", "1h30m", "ten"])
def test_durations_that_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        duration(text)


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00", "2026-01-31 12:00", "1769860800"],
)
def test_times(text: str) -> None:
    assert time(text) == parse_time(text) == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "noon", "nan", "1e400", "2026-13-01"])
def test_times_that_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        time(text)
