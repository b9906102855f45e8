"""What callers of a session service of Google ADK rely on, case by case; its in-memory service is held to it, too.

The distribution carries no tests. These are written anew from the behaviour of its services, so that each case shows
by itself that it describes theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig
from google.adk.sessions.in_memory_session_service import InMemorySessionService
from google.adk.sessions.session import Session
from google.genai import types

from recollectd.adapters.google_adk import RecollectdSessionService
from recollectd.client import Client

EXCEPTIONS: Final[dict[str, str]] = {}
APP: Final = "app"

MAKE: Final[dict[str, Callable[[Client], BaseSessionService]]] = {
    "theirs": lambda client: InMemorySessionService(),
    "ours": RecollectdSessionService,
}


@pytest.fixture(params=sorted(MAKE))
def service(request: pytest.FixtureRequest, client: Client) -> BaseSessionService:
    return MAKE[request.param](client)


async def begin(service: BaseSessionService, user_id: str = "ada", **options: Any) -> Session:
    return await service.create_session(app_name=APP, user_id=user_id, **options)


async def again(service: BaseSessionService, session: Session, **config: Any) -> Session:
    found = await service.get_session(
        app_name=session.app_name,
        user_id=session.user_id,
        session_id=session.id,
        config=GetSessionConfig(**config) if config else None,
    )
    assert found is not None
    return found


def changing(**state: Any) -> Event:
    """An event that changes state; `app__k` stands for the key `app:k`."""
    delta = {key.replace("__", ":"): content for key, content in state.items()}
    return Event(author="agent", invocation_id="1", actions=EventActions(state_delta=delta))


async def test_a_session_that_is_not_there_is_none(service: BaseSessionService) -> None:
    assert await service.get_session(app_name=APP, user_id="ada", session_id="nowhere") is None


async def test_a_session_is_created_read_and_deleted(service: BaseSessionService) -> None:
    session = await begin(service, state={"topic": "whales"})
    assert (session.app_name, session.user_id, session.state, session.events) == (APP, "ada", {"topic": "whales"}, [])
    assert session.id
    assert session.last_update_time > 0
    assert await again(service, session) == session
    for _ in range(2):
        await service.delete_session(app_name=APP, user_id="ada", session_id=session.id)
        assert await service.get_session(app_name=APP, user_id="ada", session_id=session.id) is None


async def test_a_session_id_is_given_once(service: BaseSessionService) -> None:
    await begin(service, session_id="one")
    with pytest.raises(AlreadyExistsError):
        await begin(service, session_id="one")
    await begin(service, "bob", session_id="one")


async def test_spaces_around_a_session_id_do_not_count(service: BaseSessionService) -> None:
    session = await begin(service, session_id="  padded ")
    assert session.id == "padded"
    for name in ("padded", " padded  "):
        assert await service.get_session(app_name=APP, user_id="ada", session_id=name) == session
    await service.delete_session(app_name=APP, user_id="ada", session_id="\tpadded ")
    assert await service.get_session(app_name=APP, user_id="ada", session_id="padded") is None


async def test_sessions_are_listed_by_user_without_events(service: BaseSessionService) -> None:
    sessions = [await begin(service, user, session_id=name, state={"of": name}) for user, name in OF_USERS]
    await service.append_event(sessions[0], Event(author="agent"))
    for user in ("ada", "bob", "adab", None):
        listed = (await service.list_sessions(app_name=APP, user_id=user)).sessions
        expected = [(owner, name) for owner, name in OF_USERS if user in (owner, None)]
        assert sorted((each.user_id, each.id) for each in listed) == sorted(expected)
        assert all(each.events == [] and each.state == {"of": each.id} for each in listed)


OF_USERS: Final = (("ada", "a1"), ("ada", "b2"), ("bob", "a1"), ("adab", "1"))


async def test_the_session_used_last_is_listed_last(service: BaseSessionService) -> None:
    sessions = [await begin(service, session_id=name) for name in ("a", "b", "c")]
    await service.append_event(sessions[1], Event(author="agent", timestamp=sessions[2].last_update_time + 60))
    listed = await service.list_sessions(app_name=APP, user_id="ada")
    assert [each.id for each in listed.sessions] == ["a", "c", "b"]


async def test_state_of_an_app_is_seen_by_all_its_users(service: BaseSessionService) -> None:
    first = await begin(service, session_id="1", state={"app:greeting": "hi"})
    await service.append_event(first, changing(app__tone="warm"))
    second = await begin(service, "bob")
    assert second.state == {"app:greeting": "hi", "app:tone": "warm"}
    assert (await again(service, first)).state == second.state
    other = await service.create_session(app_name="other", user_id="ada")
    assert other.state == {}


async def test_state_of_a_user_is_seen_in_all_their_sessions(service: BaseSessionService) -> None:
    first = await begin(service, state={"user:name": "Ada"})
    await service.append_event(first, changing(user__born=1815))
    assert (await begin(service)).state == {"user:name": "Ada", "user:born": 1815}
    assert (await begin(service, "bob")).state == {}


async def test_state_of_a_session_is_its_own(service: BaseSessionService) -> None:
    first = await begin(service, state={"topic": "whales"})
    await service.append_event(first, changing(depth=3, topic={"now": "ships"}))
    assert (await again(service, first)).state == {"topic": {"now": "ships"}, "depth": 3}
    assert (await begin(service)).state == {}


async def test_temporary_state_is_not_kept(service: BaseSessionService) -> None:
    session = await begin(service)
    await service.append_event(session, changing(temp__draft="x", kept="y"))
    assert session.state["temp:draft"] == "x"
    stored = await again(service, session)
    assert stored.state == {"kept": "y"}
    assert stored.events[0].actions.state_delta == {"kept": "y"}


async def test_state_of_a_user_is_read_without_a_session(service: BaseSessionService) -> None:
    assert await service.get_user_state(app_name=APP, user_id="ada") == {}
    session = await begin(service)
    await service.append_event(session, changing(user__profile={"name": "Ada"}, own=1))
    await service.append_event(session, changing(user__count=2))
    assert await service.get_user_state(app_name=APP, user_id="ada") == {"profile": {"name": "Ada"}, "count": 2}
    assert await service.get_user_state(app_name=APP, user_id="bob") == {}
    assert await service.get_user_state(app_name="other", user_id="ada") == {}


async def test_users_may_have_sessions_of_the_same_id(service: BaseSessionService) -> None:
    session = await begin(service, session_id="one")
    await service.append_event(session, Event(author="agent"))
    other = await begin(service, "bob", session_id="one")
    assert (await again(service, other)).events == []
    assert len((await again(service, session)).events) == 1


async def test_events_come_back_with_all_they_hold(service: BaseSessionService) -> None:
    session = await begin(service)
    event = Event(
        author="agent",
        invocation_id="1",
        content=types.Content(
            role="model",
            parts=[types.Part(text="text"), types.Part.from_bytes(data=b"\x00\xff", mime_type="image/png")],
        ),
        turn_complete=True,
        partial=False,
        actions=EventActions(artifact_delta={"file": 0}, transfer_to_agent="other", escalate=True),
        long_running_tool_ids={"tool"},
        error_code="code",
        error_message="message",
        interrupted=True,
        grounding_metadata=types.GroundingMetadata(
            web_search_queries=["query"], search_entry_point=types.SearchEntryPoint(sdk_blob=b"\x01")
        ),
        usage_metadata=types.GenerateContentResponseUsageMetadata(prompt_token_count=1, total_token_count=2),
        citation_metadata=types.CitationMetadata(),
        custom_metadata={"key": ["value", 1.5, None]},
        input_transcription=types.Transcription(text="heard", finished=True),
    )
    assert await service.append_event(session, event) is event
    assert session.events == [event]
    assert await again(service, session) == session


async def test_an_event_moves_the_time_of_its_session(service: BaseSessionService) -> None:
    session = await begin(service)
    later = session.last_update_time + 10
    await service.append_event(session, Event(author="agent", timestamp=later))
    assert session.last_update_time == later
    assert (await again(service, session)).last_update_time == later


async def test_only_the_events_asked_for_are_read(service: BaseSessionService) -> None:
    session = await begin(service)
    for second in range(1, 6):
        await service.append_event(session, Event(author="agent", timestamp=float(second)))

    async def seconds(**config: Any) -> list[float]:
        return [event.timestamp for event in (await again(service, session, **config)).events]

    assert await seconds() == [1, 2, 3, 4, 5]
    assert await seconds(num_recent_events=0) == []
    assert await seconds(num_recent_events=3) == [3, 4, 5]
    assert await seconds(num_recent_events=9) == [1, 2, 3, 4, 5]
    assert await seconds(after_timestamp=4.0) == [4, 5]
    assert await seconds(after_timestamp=50.0) == []
    assert await seconds(after_timestamp=4.0, num_recent_events=3) == [4, 5]
    assert await seconds(after_timestamp=2.0, num_recent_events=2) == [4, 5]


async def test_partial_events_are_not_kept(service: BaseSessionService) -> None:
    session = await begin(service)
    await service.append_event(session, Event(author="agent", partial=True))
    assert session.events == []
    assert (await again(service, session)).events == []


async def test_an_event_delivered_again_is_not_doubled(service: BaseSessionService) -> None:
    session = await begin(service)
    event = changing(count=1)
    await service.append_event(session, event)
    await service.append_event(await again(service, session), event.model_copy(deep=True))
    stored = await again(service, session)
    assert [each.id for each in stored.events] == [event.id]
    await service.append_event(stored, Event(id=event.id, author="somebody else"))
    assert len((await again(service, session)).events) == 2


async def test_an_event_for_a_session_that_is_gone_is_refused(service: BaseSessionService) -> None:
    session = await begin(service)
    await service.delete_session(app_name=APP, user_id="ada", session_id=session.id)
    with pytest.raises(SessionNotFoundError):
        await service.append_event(session, Event(author="agent"))
