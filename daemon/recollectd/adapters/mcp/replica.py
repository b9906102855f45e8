"""The graph in memory, brought up to date before every read by what the log of changes says was touched since."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from recollectd.adapters.mcp import layout
from recollectd.adapters.mcp.fields import Entity, Relation

if TYPE_CHECKING:
    from recollectd.client import AsyncClient
    from recollectd.client.results import Record

_ROUNDS_MAX: Final = 8
_PAGE_ITEMS: Final = 1_000
CHANGES_MAX: Final = 20_000
"""Changes in the log beyond which half of them are dropped; who needs those reads the graph afresh."""


class Replica:
    """All entities and relations. A read sees every change that was committed before it began.

    After `refresh` it is the graph as it was at one moment, unless others changed it faster than it could be read.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._position: int | None = None
        self._entities: dict[str, list[tuple[str, int, Entity]]] = {}
        self._relations: dict[str, list[tuple[str, int, Relation]]] = {}
        self._refreshing = asyncio.Lock()
        self.entities: list[Entity] = []
        self.relations: list[Relation] = []

    async def refresh(self) -> None:
        """Bring the replica up to date."""
        async with self._refreshing:
            touched = False
            for _ in range(_ROUNDS_MAX):
                page = await self._client.logs.read(layout.CHANGES, start=self._position or 0, limit=_PAGE_ITEMS)
                if self._position is None or not page.first <= self._position <= page.next:
                    await self._read_all(page.next)
                    touched = True
                elif page.items:
                    await self._read(list(dict.fromkeys(key for item in page.items for key in item.value)))
                    self._position = page.items[-1].position + 1
                    touched = True
                else:
                    break
                if page.next - page.first > CHANGES_MAX:
                    await self._client.logs.truncate(layout.CHANGES, before=page.next - CHANGES_MAX // 2)
            if touched:
                self.entities = [one for _, _, one in sorted(_all(self._entities), key=_place)]
                self.relations = [one for _, _, one in sorted(_all(self._relations), key=_place)]

    async def _read_all(self, position: int) -> None:
        self._position = None
        self._entities.clear()
        self._relations.clear()
        for prefix in (layout.ENTITIES, layout.RELATIONS):
            async for record in self._client.state.scan(prefix):
                self._take(record)
        self._position = position

    async def _read(self, keys: list[str]) -> None:
        found = await self._client.state.get_many(keys)
        for key in keys:
            self._entities.pop(key, None)
            self._relations.pop(key, None)
            if key in found:
                self._take(found[key])

    def _take(self, record: Record) -> None:
        content: list[Any] = record.value
        if record.key.startswith(layout.RELATIONS):
            relation = Relation(*content[:3])
            self._relations[record.key] = [(record.created_at, index, relation) for index in content[3]]
        else:
            self._entities[record.key] = [
                (record.created_at, index, Entity(content[0], entity_type, observations))
                for index, entity_type, observations in content[1]
            ]


def _all(by_key: dict[str, list[tuple[str, int, Any]]]) -> list[tuple[str, int, Any]]:
    return [one for several in by_key.values() for one in several]


def _place(one: tuple[str, int, Any]) -> tuple[str, int, tuple[str, ...]]:
    created_at, index, thing = one
    name = (thing.name,) if isinstance(thing, Entity) else (thing.source, thing.target, thing.relation_type)
    return created_at, index, name
