"""The OpenAI Agents session, where its own suite does not look."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents import AgentsException, SessionSettings
from agents.memory import Session

from recollectd.adapters.openai_agents import RecollectdSession
from recollectd.client import Client
from recollectd.testing import Daemon


def items(*texts: str) -> list[Any]:
    return [{"role": "user", "content": text} for text in texts]


async def test_items_come_back_as_they_were(client: Client) -> None:
    session = RecollectdSession("s", client)
    assert isinstance(session, Session)
    odd: list[Any] = [
        {"type": "function_call", "call_id": "1", "name": "t", "arguments": '{"half": "\\ud83d"}'},
        {"role": "assistant", "content": [{"type": "output_text", "text": "half \ud83d", "annotations": []}]},
        {"role": "user", "content": "x", "extra": [1, 2.5, None, True, 2**80, {"": {}}]},
    ]
    await session.add_items(odd)
    assert await session.get_items() == odd
    assert await session.pop_item() == odd[2]


async def test_sessions_of_one_id_are_one(daemon: Daemon, client: Client) -> None:
    with daemon.client(namespace=client.namespace) as second:
        here, there = RecollectdSession("s", client), RecollectdSession("s", second)
        await asyncio.gather(*(session.add_items(items(f"{n}")) for n in range(20) for session in (here, there)))
        assert await here.get_items() == await there.get_items()
        assert sorted(str(each.get("content")) for each in await here.get_items()) == sorted(
            str(number) for number in range(20) for _ in range(2)
        )


def test_a_session_goes_from_loop_to_loop(client: Client) -> None:
    session = RecollectdSession("s", client)
    for text in ("a", "b", "c"):
        asyncio.run(session.add_items(items(text)))
    assert asyncio.run(session.get_items()) == items("a", "b", "c")


@pytest.mark.parametrize(("limit", "expected"), [(None, "de"), (1, "e"), (0, ""), (9, "abcde"), (-1, "abcde")])
async def test_the_limit_is_the_calls_or_the_settings(client: Client, limit: int | None, expected: str) -> None:
    session = RecollectdSession("s", client, session_settings=SessionSettings(limit=2))
    await session.add_items(items(*"abcde"))
    assert await session.get_items(limit) == items(*expected)


async def test_many_items_at_once_are_all_or_none(client: Client) -> None:
    session = RecollectdSession("s", client)
    with pytest.raises(AgentsException, match="has 8193 entries"):
        await session.add_items(items("x") * 8_193)
    assert await session.get_items() == []
    await session.add_items(items("x") * 8_192)
    await session.add_items(items("y") * 8_192)
    assert await session.get_items() == items("x") * 8_192 + items("y") * 8_192


async def test_maps_that_others_wrote_are_items_too(client: Client) -> None:
    session = RecollectdSession("s", client)
    log = client.with_namespace(*client.namespace, "openai-agents").logs
    log.append("s", items("from elsewhere"))
    assert await session.get_items() == items("from elsewhere")
    for nonsense in ("not JSON", "[1]", 7):
        log.append("s", [nonsense])
        with pytest.raises(AgentsException, match=r"position 1 .* is no item"):
            await session.get_items()
        log.truncate("s", after=1)


async def test_a_closed_session_is_of_no_use_and_only_its_own_client_is_closed(daemon: Daemon, client: Client) -> None:
    session = RecollectdSession("s", client)
    assert await session.ping()
    session.close()
    with pytest.raises(RuntimeError, match="RecollectdSession is closed"):
        await session.add_items(items("x"))
    assert client.ping() > 0
    owner = RecollectdSession.from_url("s", daemon.url, namespace=client.namespace)
    await owner.add_items(items("y"))
    owner.close()
    owner.close()
    assert await RecollectdSession("s", client).get_items() == items("y")


async def test_a_daemon_that_is_away_is_told_by_ping(recollectd_daemon: Daemon) -> None:
    session = RecollectdSession.from_url("s", recollectd_daemon.url, timeout=0.5)
    assert await session.ping()
    recollectd_daemon.kill()
    assert not await session.ping()
    session.close()
