"""The ADK memory service, where the comparison with ADK's own does not look."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.adk.errors.input_validation_error import InputValidationError
from google.adk.events.event import Event
from google.adk.sessions.session import Session
from google.genai import types

from recollectd.adapters.google_adk import RecollectdMemoryService
from recollectd.client import Client
from recollectd.testing import Daemon


def said(text: str, second: float = 0.0, **fields: Any) -> Event:
    content = types.Content(role="user", parts=[types.Part(text=text)])
    return Event(author="user", content=content, timestamp=second, **fields)


async def find(service: RecollectdMemoryService, query: str, user_id: str = "ada") -> list[str]:
    response = await service.search_memory(app_name="app", user_id=user_id, query=query)
    return [str((memory.content.parts or [types.Part()])[0].text) for memory in response.memories]


@pytest.fixture
def service(client: Client) -> RecollectdMemoryService:
    return RecollectdMemoryService(client)


async def remember(service: RecollectdMemoryService, *events: Event, session_id: str | None = None) -> None:
    await service.add_events_to_memory(app_name="app", user_id="ada", events=events, session_id=session_id)


async def test_what_answers_best_comes_first_and_the_newest_of_equals(service: RecollectdMemoryService) -> None:
    await remember(service, said("a blue ship", 1), said("a blue whale", 2), said("a grey ship", 3), said("nothing", 4))
    await remember(service, said("a blue ship", 9), session_id="another")
    found = await find(service, "Blue SHIPS?")
    assert (found[:2], sorted(found[2:])) == (["a blue ship"] * 2, ["a blue whale", "a grey ship"])
    best = await service.search_memory(app_name="app", user_id="ada", query="blue ship")
    assert [str(memory.timestamp)[-2:] for memory in best.memories[:2]] == ["09", "01"]
    assert await find(service, "") == await find(service, "?!") == await find(service, "shi") == []


async def test_at_most_ten_are_found_of_many_sessions(service: RecollectdMemoryService) -> None:
    for number in range(150):
        await remember(service, said(f"ship {number}", number), session_id=f"session {number}")
    assert await find(service, "ship") == [f"ship {number}" for number in range(149, 139, -1)]
    first, *others = await find(service, "ship 17")
    assert (first, len(others)) == ("ship 17", 9)


async def test_a_session_that_changes_is_added_again(service: RecollectdMemoryService, client: Client) -> None:
    session = Session(id="s", app_name="app", user_id="ada")
    for number in range(5):
        session.events.append(said(f"ship {number}", number))
        await service.add_session_to_memory(session)
    assert await find(service, "ship") == [f"ship {number}" for number in range(4, -1, -1)]
    session.events = session.events[2:]
    await service.add_session_to_memory(session)
    assert await find(service, "ship") == ["ship 4", "ship 3", "ship 2"]
    session.events[0].content = types.Content(role="user", parts=[types.Part(text="whale")])
    session.events[1].content = types.Content(role="user", parts=[])
    await service.add_session_to_memory(session)
    assert (await find(service, "ship"), await find(service, "whale")) == (["ship 4"], ["whale"])
    user = client.with_namespace(*client.namespace, "google-adk", "app", "memory", "=ada")
    assert (user.memories.count(), user.state.count("event/")) == (2, 2)


async def test_long_users_and_long_texts_have_their_place(service: RecollectdMemoryService) -> None:
    for user_id in ("x" * 1_000, "=ada", "😀" * 100):
        await service.add_events_to_memory(app_name="app", user_id=user_id, events=[said("ship " * 100_000, 1)])
        (found,) = await find(service, "ship", user_id)
        assert found == "ship " * 100_000
    assert await find(service, "ship") == []


async def test_what_was_deleted_is_not_remembered_again(service: RecollectdMemoryService) -> None:
    event = said("my secret", id="1")
    await remember(service, event, said("no secret", id="2"))
    await service.delete_memory(app_name="app", user_id="ada", memory_id="1")
    await service.delete_memory(app_name="app", user_id="ada", memory_id=None)
    await remember(service, event)
    await remember(service, event, session_id="another")
    assert await find(service, "secret") == ["no secret"]
    assert await find(service, "secret", "bob") == []


async def test_bad_names_and_an_absent_daemon_are_told_in_adks_terms(
    service: RecollectdMemoryService, tmp_path: Path
) -> None:
    for user_id in ("", "x" * 10_240):
        with pytest.raises(InputValidationError):
            await service.add_events_to_memory(app_name="app", user_id=user_id, events=[said("x")])
        with pytest.raises(InputValidationError):
            await find(service, "x", user_id)
    nobody = RecollectdMemoryService(uri=f"recollectd+unix://{tmp_path}/nobody", timeout=0.5)
    with pytest.raises(ConnectionError):
        await remember(nobody, said("x"))
    with pytest.raises(ConnectionError):
        await find(nobody, "x")
    await nobody.close()


async def test_kills_lose_and_double_nothing(recollectd_daemon: Daemon) -> None:
    with recollectd_daemon.client(timeout=60) as client:
        service = RecollectdMemoryService(client)
        for number in range(8):
            if number % 3 == 1:
                killing = asyncio.create_task(asyncio.to_thread(recollectd_daemon.restart, kill=True))
                await remember(service, said(f"ship {number}", number), session_id="s")
                await killing
            else:
                await remember(service, said(f"ship {number}", number), session_id="s")
        assert sorted(await find(service, "ship")) == [f"ship {number}" for number in range(8)]
