"""Decisions of swarms, levels of sharing, typed state, repositories and units of work."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pydantic
import pytest

from recollectd.client import Client, errors
from recollectd.client.agents import AgentState, Level, Repository, SharedMemory, SwarmMemory, UnitOfWork
from recollectd.testing import Daemon


class Profile(msgspec.Struct):
    name: str
    age: int = 0
    seen: datetime | None = None


class Model(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(0, ge=0)


# -- swarms -----------------------------------------------------------------------------------------------------------


def test_decisions_come_newest_first_and_none_replaces_another(client: Client) -> None:
    swarm = SwarmMemory("s", client=client)
    assert swarm.history() == []
    for number in range(250):
        swarm.store_decision(f"d{number % 3}", {"number": number})
    newest = swarm.history()
    assert [one.decision["number"] for one in newest] == list(range(249, 149, -1))
    assert [one.position for one in newest[:2]] == [249, 248]
    assert newest[0].id == "d0"
    assert len(swarm.history(1_000)) == 250


def test_any_pattern_of_ids(client: Client) -> None:
    swarm = SwarmMemory("s", client=client)
    for id in ("plan:1", "plan:2", "vote/1", "*", "plan:3"):
        swarm.store_decision(id, None)
    assert [one.id for one in swarm.history(pattern="plan:*")] == ["plan:3", "plan:2", "plan:1"]
    assert [one.id for one in swarm.history(2, pattern="plan:*")] == ["plan:3", "plan:2"]
    assert [one.id for one in swarm.history(pattern="[*]")] == ["*"]
    assert len(swarm.history(pattern="coordination:s:*")) == 5
    assert swarm.history(pattern="coordination:other:*") == []


def test_swarms_are_apart_also_where_their_names_begin_alike(client: Client) -> None:
    SwarmMemory("s", client=client).store_decision("a", 1)
    SwarmMemory("s:a", client=client).store_decision("b", 2)
    assert [one.id for one in SwarmMemory("s", client=client).history()] == ["a"]


def test_a_pattern_is_looked_for_to_the_first_decision(client: Client) -> None:
    swarm = SwarmMemory("s", client=client)
    swarm.store_decision("first", 0)
    client.logs.append("coordination:s", [{"id": "x", "decision": n} for n in range(500)])
    assert [one.id for one in swarm.history(1, pattern="first")] == ["first"]


def test_watching_a_swarm(open_client: Callable[[], Client]) -> None:
    swarm = SwarmMemory("s", client=open_client())
    swarm.store_decision("before", 0)
    with swarm.watch() as watch:
        SwarmMemory("s2", client=open_client()).store_decision("other", 0)
        SwarmMemory("s", client=open_client()).store_decision("a", [1])
        swarm.store_decision("b", {"x": 2})
        first, second = next(watch), next(watch)
    assert (first.id, first.decision, first.position) == ("a", [1], 1)
    assert (second.id, second.decision, second.position) == ("b", {"x": 2}, 2)
    assert [first.stored_at, second.stored_at] == [one.stored_at for one in reversed(swarm.history(2))]


MEMBER = """
import sys
from recollectd.client import Client
from recollectd.client.agents import SwarmMemory
url, member, count = sys.argv[1:]
with Client(url, namespace=("agents", "processes")) as client:
    swarm = SwarmMemory("s", client=client)
    for number in range(int(count)):
        swarm.store_decision(f"{member}:{number}", number)
"""


def test_ten_processes_lose_no_decision(daemon: Daemon) -> None:
    members = [subprocess.Popen([sys.executable, "-c", MEMBER, daemon.url, str(n), "20"]) for n in range(10)]
    assert [member.wait(60) for member in members] == [0] * 10
    with daemon.client(namespace=("agents", "processes")) as client:
        found = [one.id for one in SwarmMemory("s", client=client).history(1_000)]
    assert sorted(found) == sorted(f"{member}:{number}" for member in range(10) for number in range(20))
    for member in range(10):
        own = [id for id in found if id.startswith(f"{member}:")]
        assert own == [f"{member}:{number}" for number in reversed(range(20))]


# -- levels -----------------------------------------------------------------------------------------------------------


def test_levels_are_for_the_agent_its_team_and_everybody(client: Client) -> None:
    ada, bob, eve = (
        SharedMemory(agent, team, client=client) for agent, team in (("ada", "x"), ("bob", "x"), ("eve", "y"))
    )
    ada.put("k", "mine")
    ada.put("k", "ours", level="team")
    ada.put("k", "all", level=Level.PUBLIC)
    assert [memory.get("k").value for memory in (ada, bob, eve)] == ["mine", "ours", "all"]  # type: ignore[union-attr]
    assert bob.get("k", level="private") is None
    assert eve.get("k", level="team") is None
    assert [(one.key, one.value, one.level) for one in eve.scan(level="public")] == [("k", "all", "public")]
    assert ada.delete("k")
    assert ada.get("k").level == "team"  # type: ignore[union-attr]
    with pytest.raises(errors.VersionConflict):
        bob.put("k", "again", level="team", if_version=0)
    with pytest.raises(errors.InvalidArgument) as refused:
        ada.put("k", 1, level="secret")
    assert refused.value.field == "level"


# -- typed state ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("type", "make"), [(Profile, Profile), (Model, Model)])
def test_state_is_of_its_type(client: Client, type: Any, make: Any) -> None:
    state = AgentState("a", type, client=client)
    assert state.get() is None
    assert state.save(make(name="Ada", age=36)) == 1
    assert state.get() == make(name="Ada", age=36)
    assert state.save(make(name="Ada", age=37), if_version=1) == 2
    with pytest.raises(errors.VersionConflict):
        state.save(make(name="Ada"), if_version=1)
    assert state.saved().version == 2  # type: ignore[union-attr]
    assert state.delete()


@pytest.mark.parametrize(
    ("type", "make", "field"),
    [
        (Profile, lambda: Profile(name="Ada", age="x"), "value.age"),  # type: ignore[arg-type]
        (Model, lambda: Model.model_construct(name="Ada", age=-1), "value.age"),
        (Profile, lambda: {"age": 1}, "value"),
        (list[int], lambda: [1, "2"], "value[1]"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    client: Client, type: Any, make: Callable[[], Any], field: str
) -> None:
    state = AgentState("a", type, client=client)
    with pytest.raises(errors.InvalidArgument) as refused:
        state.save(make())
    assert refused.value.field == field
    assert client.state.count() == 0


def test_what_was_stored_as_something_else_is_refused(client: Client) -> None:
    client.state.put("agent:a", {"name": 7})
    with pytest.raises(errors.InvalidArgument) as refused:
        AgentState("a", Profile, client=client).get()
    assert refused.value.field == "value.name"


def test_times_and_plain_types(client: Client) -> None:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    state = AgentState("a", Profile, client=client)
    state.save(Profile("Ada", seen=moment))
    assert state.get() == Profile("Ada", seen=moment)
    numbers = AgentState("b", dict[str, list[int]], client=client)
    numbers.save({"x": [1]})
    assert numbers.get() == {"x": [1]}
    with pytest.raises(errors.InvalidArgument):
        AgentState("c", dict[str, Any], client=client).save({"f": object()})


def test_updates_of_several_threads_are_all_there(client: Client) -> None:
    state = AgentState("a", Model, client=client)
    state.save(Model(name="n", age=0))

    def work() -> None:
        for _ in range(5):
            while True:
                try:
                    state.update(lambda model: Model(name="n", age=(model.age if model else 0) + 1))
                    break
                except errors.VersionConflict:
                    continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.get() == Model(name="n", age=20)


# -- repositories and units of work -----------------------------------------------------------------------------------


def test_a_repository_holds_values_by_id(client: Client) -> None:
    people = Repository("person", Profile, client)
    people.put("b", Profile("Bob"))
    people.add("a", Profile("Ada"))
    with pytest.raises(errors.VersionConflict):
        people.add("a", Profile("Eve"))
    Repository("personal", Profile, client).put("x", Profile("X"))
    assert list(people.list()) == [("a", Profile("Ada")), ("b", Profile("Bob"))]
    assert list(people.list(pattern="b*")) == [("b", Profile("Bob"))]
    people.remove("a")
    assert people.get("a") is None
    with pytest.raises(errors.InvalidArgument):
        people.put("c", {"name": 1})  # type: ignore[arg-type]


def test_a_unit_of_work_is_whole_or_not_at_all(client: Client) -> None:
    done: list[str] = []

    def work(work: Any) -> str:
        people = work.repository("person", Profile)
        assert people.get("a") is None
        people.put("a", Profile("Ada"))
        work.logs.append("events", ["hired"])
        work.after_commit(lambda: done.append("told"))
        return "hired"

    assert UnitOfWork(client).run(work) == "hired"
    assert done == ["told"]

    def fails(work: Any) -> None:
        work.repository("person", Profile).put("b", Profile("Bob"))
        work.after_commit(lambda: done.append("never"))
        raise KeyError("no")

    with pytest.raises(KeyError):
        UnitOfWork(client).run(fails)
    assert [id for id, _ in Repository("person", Profile, client).list()] == ["a"]
    assert done == ["told"]


def test_a_unit_of_work_runs_again_when_what_it_read_changed(client: Client) -> None:
    people = Repository("person", Profile, client)
    people.put("a", Profile("Ada", 1))
    attempts: list[int] = []

    def birthday(work: Any) -> None:
        repository = people.within(work.transaction)
        found = repository.get("a")
        assert found is not None
        if not attempts:
            people.put("a", Profile("Ada", 50))
        attempts.append(found.age)
        repository.put("a", Profile("Ada", found.age + 1))

    UnitOfWork(client).run(birthday)
    assert attempts == [1, 50]
    assert people.get("a") == Profile("Ada", 51)
