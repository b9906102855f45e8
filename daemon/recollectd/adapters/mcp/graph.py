"""The nine operations on the graph: each is one transaction, however many processes work on the graph at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from recollectd.adapters.mcp import layout
from recollectd.adapters.mcp.fields import Added, Addition, Deletion, Entity, GraphPart, Relation
from recollectd.adapters.mcp.replica import Replica

if TYPE_CHECKING:
    from recollectd.client import AsyncClient, AsyncTransaction
    from recollectd.client.results import Record

T = TypeVar("T")

ATTEMPTS: Final = 100
"""Transactions meet only at the same entity or relation; each that has to begin anew means that another is done."""
VERSIONS_KEPT: Final = 10


class UnknownEntity(LookupError):
    """Observations were to be added to an entity that is not there."""


class Graph:
    """The graph below the client's namespace."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client.with_namespace(*client.namespace, layout.NAMESPACE)
        self._replica = Replica(self.client)

    async def prepare(self) -> None:
        """Have few versions kept: each of an entity has all its observations."""
        await self.client.configure_history(count=VERSIONS_KEPT, age_s=None)

    async def create_entities(self, entities: Sequence[Entity]) -> list[Entity]:
        """Create what has no namesake yet; return it."""

        async def create(transaction: AsyncTransaction) -> list[Entity]:
            known = await transaction.state.get_many({layout.entity_key(entity.name) for entity in entities})
            created = [entity for entity in entities if layout.entity_key(entity.name) not in known]
            records: dict[str, list[Any]] = {}
            for index, entity in enumerate(created):
                namesakes = records.setdefault(layout.entity_key(entity.name), [entity.name, []])[1]
                namesakes.append([index, entity.entity_type, entity.observations])
            await self._write(transaction, records)
            return created

        return await self._transact(create)

    async def create_relations(self, relations: Sequence[Relation]) -> list[Relation]:
        """Create what is not there yet, whether its ends are or not; return it."""

        async def create(transaction: AsyncTransaction) -> list[Relation]:
            known = await transaction.state.get_many({_key(relation) for relation in relations})
            created = [relation for relation in relations if _key(relation) not in known]
            records: dict[str, list[Any]] = {}
            for index, relation in enumerate(created):
                texts = (relation.source, relation.target, relation.relation_type)
                records.setdefault(_key(relation), [*texts, []])[3].append(index)
                transaction.state.put(layout.back_key(*texts), layout.digest(relation.source))
            for name in {end for relation in created for end in (relation.source, relation.target)}:
                transaction.state.put(layout.ends_key(name), True)
            await self._write(transaction, records)
            return created

        return await self._transact(create)

    async def add_observations(self, additions: Sequence[Addition]) -> list[Added]:
        """Add observations that an entity does not have; raises UnknownEntity, and then adds none."""

        async def add(transaction: AsyncTransaction) -> list[Added]:
            records = await self._entities(transaction, [addition.entity_name for addition in additions])
            changed: dict[str, list[Any]] = {}
            added: list[Added] = []
            for addition in additions:
                key = layout.entity_key(addition.entity_name)
                if key not in records:
                    raise UnknownEntity(f"Entity with name {addition.entity_name} not found")
                observations: list[str] = records[key][1][0][2]
                known = set(observations)
                new = [content for content in addition.contents if content not in known]
                if new:
                    observations.extend(new)
                    changed[key] = records[key]
                added.append(Added(addition.entity_name, new))
            await self._write(transaction, changed)
            return added

        return await self._transact(add)

    async def delete_observations(self, deletions: Sequence[Deletion]) -> None:
        """Delete observations where they are."""

        async def delete(transaction: AsyncTransaction) -> None:
            records = await self._entities(transaction, [deletion.entity_name for deletion in deletions])
            changed: dict[str, list[Any]] = {}
            for deletion in deletions:
                key = layout.entity_key(deletion.entity_name)
                if key in records:
                    namesake = records[key][1][0]
                    unwanted = set(deletion.observations)
                    kept = [content for content in namesake[2] if content not in unwanted]
                    if len(kept) != len(namesake[2]):
                        namesake[2] = kept
                        changed[key] = records[key]
            await self._write(transaction, changed)

        await self._transact(delete)

    async def delete_entities(self, names: Sequence[str]) -> None:
        """Delete entities and all relations from and to them."""
        unique = list(dict.fromkeys(names))

        async def delete(transaction: AsyncTransaction) -> None:
            # What a new relation of these names writes is read, and so guarded, before the relations are looked for:
            # one that comes later makes all this begin anew.
            await transaction.state.get_many([layout.ends_key(name) for name in unique])
            records = await transaction.state.get_many([layout.entity_key(name) for name in unique])
            relations: dict[str, str] = {}
            for name in unique:
                relations.update(await self._relations_of(name))
            for key in (*records, *relations.values()):
                transaction.state.delete(key)
            await self._delete(transaction, [*records, *relations])

        await self._transact(delete)

    async def delete_relations(self, relations: Iterable[Relation]) -> None:
        """Delete relations where they are."""
        texts = {_key(one): (one.source, one.target, one.relation_type) for one in relations}

        async def delete(transaction: AsyncTransaction) -> None:
            known = await transaction.state.get_many(texts)
            for key in known:
                transaction.state.delete(layout.back_key(*texts[key]))
            await self._delete(transaction, list(known))

        await self._transact(delete)

    async def read_graph(self) -> GraphPart:
        """Return everything."""
        await self._replica.refresh()
        return GraphPart(list(self._replica.entities), list(self._replica.relations))

    async def search_nodes(self, query: str) -> GraphPart:
        """Return entities with the query in name, type or an observation, whatever the case, and their relations."""
        await self._replica.refresh()
        wanted = query.lower()
        found = self._replica.entities.having(wanted)
        if "\0" in wanted:  # it stands between the texts, too
            found = [entity for entity in found if any(wanted in text.lower() for text in _texts(entity))]
        return self._part(found)

    async def open_nodes(self, names: Iterable[str]) -> GraphPart:
        """Return the entities of these names and their relations."""
        await self._replica.refresh()
        return self._part(self._replica.entities.named(names))

    async def having_any(self, texts: Collection[str]) -> GraphPart:
        """Return the entities that have any of some lower-case texts, and their relations."""
        await self._replica.refresh()
        return self._part(self._replica.entities.having_any(texts))

    def _part(self, entities: list[Entity]) -> GraphPart:
        names = {entity.name for entity in entities}
        return GraphPart(entities, self._replica.relations.named(names))

    async def _transact(self, function: Callable[[AsyncTransaction], Awaitable[T]]) -> T:
        return await self.client.transact(function, attempts=ATTEMPTS)

    async def _entities(self, transaction: AsyncTransaction, names: Iterable[str]) -> dict[str, list[Any]]:
        found: dict[str, Record] = await transaction.state.get_many({layout.entity_key(name) for name in names})
        return {key: record.value for key, record in found.items()}

    async def _relations_of(self, name: str) -> dict[str, str]:
        """Return the keys of a name's relations, each with the key that leads back to it."""
        found: dict[str, str] = {}
        async for record in self.client.state.scan(layout.outgoing_prefix(name)):
            found[record.key] = layout.back_key(*record.value[:3])
        async for record in self.client.state.scan(layout.incoming_prefix(name)):
            found[f"{layout.RELATIONS}{record.value}/{record.key.rpartition('/')[2]}"] = record.key
        return found

    async def _write(self, transaction: AsyncTransaction, records: dict[str, list[Any]]) -> None:
        for key, content in records.items():
            transaction.state.put(key, content)
        if records:
            transaction.logs.append(layout.CHANGES, [list(records)])

    async def _delete(self, transaction: AsyncTransaction, keys: list[str]) -> None:
        for key in keys:
            if not key.startswith(layout.ENTITIES):
                transaction.state.delete(key)
        if keys:
            transaction.logs.append(layout.CHANGES, [keys])


def _texts(entity: Entity) -> tuple[str, ...]:
    return (entity.name, entity.entity_type, *entity.observations)


def _key(relation: Relation) -> str:
    return layout.relation_key(relation.source, relation.target, relation.relation_type)
