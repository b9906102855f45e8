"""The demo's judgement: it must see what is missing, half there, doubled or out of order."""

from __future__ import annotations

from typing import Any

import pytest

from recollectd.cli.demo import samples, speed
from recollectd.cli.demo.writers import Writer, missing_units, whole_units
from recollectd.protocol import errors
from support.fake_client import FakeClient
from support.fake_store import FakeStore


def written(store: FakeStore, units: int, *, patient: bool = True, error: Exception | None = None) -> Writer:
    """Return a writer that wrote so many units and then met an error, or was stopped."""
    client: Any = FakeClient(store)
    writer = Writer(1, client, patient=patient)
    transact = client.transact

    def counted(function: Any) -> None:
        if writer.started > units:
            if error is not None:
                raise error
            writer.stop()
        transact(function)

    client.transact = counted
    writer.start()
    assert writer.join(30)
    return writer


def judge(store: FakeStore, writer: Writer) -> list[str]:
    return missing_units(FakeClient(store), writer)  # type: ignore[arg-type]


def log_items(store: FakeStore) -> list[Any]:
    return store.logs[("default",), "writer-1"].items


def test_whole_writers_have_nothing_missing(store: FakeStore) -> None:
    writer = written(store, 20)
    assert writer.acknowledged == 21
    assert writer.failure is None
    assert judge(store, writer) == []


def test_a_lost_unit_is_seen(store: FakeStore) -> None:
    writer = written(store, 5)
    del store.states[("default",), "writer-1/00000003"]
    assert judge(store, writer) == ["writer-1: unit 3 was acknowledged and is 0 times in the state"]


def test_a_doubled_unit_is_seen(store: FakeStore) -> None:
    writer = written(store, 5)
    log_items(store).append(log_items(store)[-1])
    assert judge(store, writer) == ["writer-1: unit 6 was acknowledged and is 2 times in the log"]


def test_disorder_is_seen(store: FakeStore) -> None:
    writer = written(store, 5)
    messages = store.talks[("default",), "writer-1"].messages
    messages[1], messages[2] = messages[2], messages[1]
    assert judge(store, writer) == ["writer-1: the conversation is out of order"]


def test_what_was_never_written_is_seen(store: FakeStore) -> None:
    writer = written(store, 5)
    FakeClient(store).logs.append("writer-1", [99])
    assert judge(store, writer) == ["writer-1: the log holds what was never written: 99"]


@pytest.mark.parametrize("there", [True, False])
def test_a_unit_without_reply_is_there_whole_or_not_at_all(store: FakeStore, there: bool) -> None:
    writer = written(store, 5, patient=False, error=errors.RequestTimeout())
    assert (writer.acknowledged, writer.uncertain, writer.failure) == (5, 6, None)
    if there:
        FakeClient(store).transact(writer._unit(6))
    assert judge(store, writer) == []
    assert whole_units(FakeClient(store), writer) == there  # type: ignore[arg-type]


def test_half_a_unit_is_seen(store: FakeStore) -> None:
    writer = written(store, 5, patient=False, error=errors.ConnectionLost())
    FakeClient(store).logs.append("writer-1", [6])
    assert judge(store, writer) == ["writer-1: unit 6 is half there: only in the log"]
    FakeClient(store).transact(writer._unit(6))
    assert judge(store, writer) == ["writer-1: unit 6 is there twice"]


def test_a_patient_writer_may_not_give_up(store: FakeStore) -> None:
    assert isinstance(written(store, 5, error=errors.RequestTimeout()).failure, errors.RequestTimeout)
    assert isinstance(written(FakeStore(), 5, error=ValueError()).failure, ValueError)


def test_samples_are_found_again(store: FakeStore, client: FakeClient) -> None:
    samples.store(client)  # type: ignore[arg-type]
    assert list(samples.missing(client)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["state", "plan", "log", "message"])
def test_lost_samples_are_seen(store: FakeStore, client: FakeClient, loss: str) -> None:
    samples.store(client)  # type: ignore[arg-type]
    match loss:
        case "state":
            del store.states[("default",), "agent/007"]
        case "plan":
            client.state.put(samples.PLAN_KEY, {})
        case "log":
            client.logs.delete("decisions")
        case "message":
            del store.talks[("default",), samples.CONVERSATION_ID].messages[3]
    assert len(list(samples.missing(client))) == 1  # type: ignore[arg-type]


def test_the_conversation_is_one() -> None:
    turns = samples.conversation()
    assert len(turns) >= 30
    assert [turn.role for turn in turns[:4]] == ["user", "assistant", "user", "assistant"]
    assert all(turn.content for turn in turns)


def test_speed(client: FakeClient) -> None:
    figures = speed.measure_puts(client, seconds=0.01)  # type: ignore[arg-type]
    assert figures.per_second > 0
    assert 0 < figures.p50_ms <= figures.p99_ms
    assert speed.measure_gets(client, seconds=0.01).together_per_second > 0  # type: ignore[arg-type]


@pytest.mark.parametrize(("percent", "value"), [(1, 1.0), (50, 50.0), (99, 99.0), (100, 100.0)])
def test_percentiles(percent: int, value: float) -> None:
    assert speed.percentile([float(number) for number in range(100, 0, -1)], percent) == value
