"""The graph in memory, brought up to date before every read by what the log of changes says was touched since."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from recollectd.adapters.mcp import layout
from recollectd.adapters.mcp.fields import Entity, Relation

if TYPE_CHECKING:
    from recollectd.client import AsyncClient
    from recollectd.client.results import Record

Thing = TypeVar("Thing", Entity, Relation)
Place = tuple[str, int, str]

_ROUNDS_MAX: Final = 8
_PAGE_ITEMS: Final = 1_000
CHANGES_MAX: Final = 20_000
"""Changes in the log beyond which half of them are dropped; who needs those reads the graph afresh."""


class InOrder(Generic[Thing]):
    """Entities or relations by the key of their record, in the order in which they were created."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._by_key: dict[str, list[Place]] = {}
        self._things: dict[Place, Thing] = {}

    def __iter__(self) -> Iterator[Thing]:
        return map(self._things.__getitem__, self._places)

    def __len__(self) -> int:
        return len(self._places)

    def clear(self) -> None:
        """Hold nothing."""
        self._places.clear()
        self._by_key.clear()
        self._things.clear()

    def set(self, key: str, created_at: str, things: list[tuple[int, Thing]]) -> None:
        """Hold these, each with its index, instead of what was held for the key; none: nothing."""
        before = self._by_key.pop(key, [])
        now = {(created_at, index, key): thing for index, thing in things}
        for place in before:
            if place not in now:
                del self._places[bisect_left(self._places, place)]
                del self._things[place]
        for place, thing in now.items():
            if place not in self._things:
                insort(self._places, place)
            self._things[place] = thing
        if now:
            self._by_key[key] = list(now)


class Replica:
    """All entities and relations. A read sees every change that was committed before it began.

    After `refresh` it is the graph as it was at one moment, unless others changed it faster than it could be read.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._position: int | None = None
        self._refreshing = asyncio.Lock()
        self._haystacks: dict[int, tuple[Entity, str]] = {}
        self.entities: InOrder[Entity] = InOrder()
        self.relations: InOrder[Relation] = InOrder()

    async def refresh(self) -> None:
        """Bring the replica up to date."""
        async with self._refreshing:
            for _ in range(_ROUNDS_MAX):
                page = await self._client.logs.read(layout.CHANGES, start=self._position or 0, limit=_PAGE_ITEMS)
                if self._position is None or not page.first <= self._position <= page.next:
                    await self._read_all(page.next)
                elif page.items:
                    await self._read(list(dict.fromkeys(key for item in page.items for key in item.value)))
                    self._position = page.items[-1].position + 1
                else:
                    return
                if page.next - page.first > CHANGES_MAX:
                    await self._client.logs.truncate(layout.CHANGES, before=page.next - CHANGES_MAX // 2)

    def haystack(self, entity: Entity) -> str:
        """Return name, type and observations of an entity in lower case, NUL between them; kept for the next time."""
        known = self._haystacks.get(id(entity))
        if known is None or known[0] is not entity:
            if len(self._haystacks) > 2 * len(self.entities):
                self._haystacks.clear()  # what is there no more would stay for ever
            text = "\0".join((entity.name, entity.entity_type, *entity.observations)).lower()
            known = self._haystacks[id(entity)] = (entity, text)
        return known[1]

    async def _read_all(self, position: int) -> None:
        self._position = None
        self.entities.clear()
        self.relations.clear()
        for prefix in (layout.ENTITIES, layout.RELATIONS):
            async for record in self._client.state.scan(prefix):
                self._take(record)
        self._position = position

    async def _read(self, keys: list[str]) -> None:
        found = await self._client.state.get_many(keys)
        for key in keys:
            if key in found:
                self._take(found[key])
            else:
                (self.relations if key.startswith(layout.RELATIONS) else self.entities).set(key, "", [])

    def _take(self, record: Record) -> None:
        content = record.value
        if record.key.startswith(layout.RELATIONS):
            relation = Relation(*content[:3])
            self.relations.set(record.key, record.created_at, [(index, relation) for index in content[3]])
        else:
            entities = [
                (index, Entity(content[0], entity_type, observations))
                for index, entity_type, observations in content[1]
            ]
            self.entities.set(record.key, record.created_at, entities)
