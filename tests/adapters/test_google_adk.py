"""The ADK session service, where the contract does not look: others at work, and what must be atomic."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest
from google.adk.cli.service_registry import get_service_registry, load_services_module
from google.adk.errors import StaleSessionError
from google.adk.errors.input_validation_error import InputValidationError
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.adk.sessions.base_session_service import GetSessionConfig

from recollectd.adapters.google_adk import RecollectdMemoryService, RecollectdSessionService
from recollectd.client import Client
from recollectd.testing import Daemon
from support.source_tree import ROOT, text_of

ONE: Final[dict[str, Any]] = {"app_name": "app", "user_id": "ada", "session_id": "one"}


def event(**state: Any) -> Event:
    return Event(author="agent", actions=EventActions(state_delta={k.replace("__", ":"): v for k, v in state.items()}))


@pytest.fixture
def service(client: Client) -> RecollectdSessionService:
    return RecollectdSessionService(client)


async def test_a_session_that_others_have_changed_is_stale(service: RecollectdSessionService) -> None:
    mine = await service.create_session(**ONE)
    theirs = await service.get_session(**ONE)
    assert theirs is not None
    await service.append_event(theirs, event(count=1))
    with pytest.raises(StaleSessionError):
        await service.append_event(mine, event(count=2, app__seen=True))
    stored = await service.get_session(**ONE)
    assert stored is not None
    assert (len(stored.events), stored.state, mine.events) == (1, {"count": 1}, [])


async def test_a_session_object_from_elsewhere_is_known_by_its_time(service: RecollectdSessionService) -> None:
    session = await service.create_session(**ONE)
    copy = type(session).model_validate_json(session.model_dump_json())
    await service.append_event(copy, event())
    late = type(session).model_validate_json(session.model_dump_json())
    with pytest.raises(StaleSessionError):
        await service.append_event(late, event())


async def test_coroutines_that_share_a_session_object_all_append(service: RecollectdSessionService) -> None:
    session = await service.create_session(**ONE)
    await asyncio.gather(*(service.append_event(session, event(**{f"key{number}": number})) for number in range(20)))
    stored = await service.get_session(**ONE)
    assert stored is not None
    assert stored.state == session.state == {f"key{number}": number for number in range(20)}
    assert len(stored.events) == 20


async def test_changes_of_shared_state_do_not_undo_each_other(daemon: Daemon, client: Client) -> None:
    """Two services change different keys of one app's and one user's state through different sessions."""
    with daemon.client(namespace=client.namespace) as second:
        services = [RecollectdSessionService(client), RecollectdSessionService(second)]

        async def work(number: int) -> None:
            service = services[number % 2]
            session = await service.create_session(app_name="app", user_id="ada")
            for turn in range(3):
                await service.append_event(session, event(**{f"app__{number}_{turn}": 1, f"user__{number}_{turn}": 1}))

        await asyncio.gather(*map(work, range(6)))
        assert len(await services[0].get_user_state(app_name="app", user_id="ada")) == 18
        (session, *_) = (await services[0].list_sessions(app_name="app")).sessions
        assert len(session.state) == 36


async def test_an_event_that_is_repeated_because_nobody_knew_is_stored_once(service: RecollectdSessionService) -> None:
    session = await service.create_session(**ONE)
    stale = await service.get_session(**ONE)
    assert stale is not None
    once = event(count=1)
    await service.append_event(session, once)
    await service.append_event(session, once)
    await service.append_event(stale, once)  # whose first attempt ended without an answer
    assert session.events == stale.events == [once]
    await service.append_event(stale, event(count=2))
    stored = await service.get_session(**ONE)
    assert stored is not None
    assert [each.actions.state_delta for each in stored.events] == [{"count": 1}, {"count": 2}]


async def test_what_is_refused_changes_no_scope(service: RecollectdSessionService) -> None:
    session = await service.create_session(**ONE)
    for bad in (object(), {1: {2: object()}}, 2**70, float):
        with pytest.raises(InputValidationError, match="bad"):
            await service.append_event(session, event(app__fine=1, user__fine=1, bad=bad))
    with pytest.raises(InputValidationError, match="bad"):
        await service.create_session(app_name="app", user_id="ada", state={"app:fine": 1, "bad": object()})
    stored = await service.get_session(**ONE)
    assert stored is not None
    assert (stored.state, stored.events) == ({}, [])
    assert len((await service.list_sessions(app_name="app")).sessions) == 1


@pytest.mark.parametrize("app_name", ["", "x" * 129, "half \ud83d"])
async def test_an_app_name_that_cannot_be_is_refused(service: RecollectdSessionService, app_name: str) -> None:
    with pytest.raises(InputValidationError, match="app_name"):
        await service.create_session(app_name=app_name, user_id="ada")
    with pytest.raises(InputValidationError, match="app_name"):
        await service.list_sessions(app_name=app_name)


async def test_long_sessions_are_read_over_pages(service: RecollectdSessionService, client: Client) -> None:
    session = await service.create_session(**ONE)
    for number in range(7):
        await service.append_event(session, Event(author="agent", timestamp=float(number)))
    log = client.with_namespace(*client.namespace, "google-adk", "app").logs
    (name,) = [info.log_id for info in log.list()]
    assert len([item.value for item in log.iterate(name)]) == 7
    recent = await service.get_session(**ONE, config=GetSessionConfig(num_recent_events=2))
    assert recent is not None
    assert [each.timestamp for each in recent.events] == [5.0, 6.0]


async def test_a_session_whose_events_were_taken_away_is_an_error(
    service: RecollectdSessionService, client: Client
) -> None:
    session = await service.create_session(**ONE)
    await service.append_event(session, event())
    log = client.with_namespace(*client.namespace, "google-adk", "app").logs
    (name,) = [info.log_id for info in log.list()]
    log.delete(name)
    with pytest.raises(ConnectionError, match="its events were deleted"):
        await service.get_session(**ONE)


async def test_events_that_others_put_into_the_log_are_not_taken_for_its_own(
    service: RecollectdSessionService, client: Client
) -> None:
    session = await service.create_session(**ONE)
    await service.append_event(session, event(count=1))
    log = client.with_namespace(*client.namespace, "google-adk", "app").logs
    (name,) = [info.log_id for info in log.list()]
    log.append(name, ["not an event"])
    with pytest.raises(ConnectionError):
        await service.append_event(session, event(count=2))
    stored = await service.get_session(**ONE)
    assert stored is not None
    assert (len(stored.events), stored.state) == (1, {"count": 1})


async def test_adk_makes_the_services_of_the_file_on_our_page(daemon: Daemon, tmp_path: Path) -> None:
    page = text_of(ROOT / "daemon" / "docs" / "google-adk.md")
    (tmp_path / "services.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    load_services_module(str(tmp_path))
    uri = f"recollectd+{daemon.url}"
    sessions = get_service_registry().create_session_service(uri, agents_dir=str(tmp_path))
    memories = get_service_registry().create_memory_service(uri, agents_dir=str(tmp_path))
    assert isinstance(sessions, RecollectdSessionService)
    assert isinstance(memories, RecollectdMemoryService)
    session = await sessions.create_session(app_name="by-uri", user_id="ada")
    assert [each.id for each in (await sessions.list_sessions(app_name="by-uri")).sessions] == [session.id]
    await memories.add_session_to_memory(session)
    await sessions.close()
    await memories.close()
