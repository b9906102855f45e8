"""The graph in memory, brought up to date before every read by what the log of changes says was touched since."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
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
    """Entities or relations by the key of their record, in the order in which they were created.

    names: what a thing is found by; text: what is searched in it.
    """

    def __init__(self, names: Callable[[Thing], tuple[str, ...]], text: Callable[[Thing], str]) -> None:
        self._names: Callable[[Thing], tuple[str, ...]] = names
        self._text: Callable[[Thing], str] = text
        # Three lists side by side: walking them is what every search does.
        self._places: list[Place] = []
        self._things: list[Thing] = []
        self._texts: list[str] = []
        self._by_key: dict[str, list[Place]] = {}
        self._by_name: dict[str, dict[Place, Thing]] = {}

    def __iter__(self) -> Iterator[Thing]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._places)

    def clear(self) -> None:
        """Hold nothing."""
        for held in (self._places, self._things, self._texts, self._by_key, self._by_name):
            held.clear()

    def named(self, names: Iterable[str]) -> list[Thing]:
        """Return the things of these names."""
        found: dict[Place, Thing] = {}
        for name in names:
            found.update(self._by_name.get(name, {}))
        return [found[place] for place in sorted(found)]

    def having(self, text: str) -> list[Thing]:
        """Return the things in whose text there is another."""
        return [thing for thing, searched in zip(self._things, self._texts, strict=True) if text in searched]

    def having_any(self, texts: Collection[str]) -> list[Thing]:
        """Return the things in whose text there is any of others."""
        pairs = zip(self._things, self._texts, strict=True)
        return [thing for thing, searched in pairs if any(text in searched for text in texts)]

    def set(self, key: str, created_at: str, things: list[tuple[int, Thing]]) -> None:
        """Hold these, each with its index, instead of what was held for the key; none: nothing."""
        for place in self._by_key.pop(key, ()):
            self._drop(place)
        for index, thing in things:
            place = (created_at, index, key)
            where = bisect_left(self._places, place)
            self._places.insert(where, place)
            self._things.insert(where, thing)
            self._texts.insert(where, self._text(thing))
            self._by_key.setdefault(key, []).append(place)
            for name in self._names(thing):
                self._by_name.setdefault(name, {})[place] = thing

    def _drop(self, place: Place) -> None:
        where = bisect_left(self._places, place)
        del self._places[where], self._texts[where]
        for name in set(self._names(self._things.pop(where))):
            del self._by_name[name][place]
            if not self._by_name[name]:
                del self._by_name[name]


def _entity_text(entity: Entity) -> str:
    return "\0".join((entity.name, entity.entity_type, *entity.observations)).lower()


class Replica:
    """All entities and relations. A read sees every change that was committed before it began.

    After `refresh` it is the graph as it was at one moment, unless others changed it faster than it could be read.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._position: int | None = None
        self._refreshing = asyncio.Lock()
        self.entities: InOrder[Entity] = InOrder(lambda entity: (entity.name,), _entity_text)
        self.relations: InOrder[Relation] = InOrder(lambda one: (one.source, one.target), lambda _: "")

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
