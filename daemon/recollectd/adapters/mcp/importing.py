"""The memory file of the reference server, taken in: entities and relations that are not there yet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec

from recollectd.adapters.mcp.fields import Addition, Entity, Relation
from recollectd.adapters.mcp.graph import Graph
from recollectd.client import errors

BATCH: Final = 500
BATCH_BYTES_MAX: Final = 4 << 20


class Imported(NamedTuple):
    """How much a file had, and how much of it was new."""

    entities: int
    relations: int
    new_entities: int
    new_relations: int
    new_observations: int


def read_file(lines: Iterable[bytes]) -> Iterator[tuple[Entity | Relation, int]]:
    """Yield what the lines of a memory file say, each with its size in bytes.

    Raises InvalidArgument naming the line; what is neither an entity nor a relation is left out, as the reference does.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content: Any = json.loads(line)
            kind = content.get("type") if isinstance(content, dict) else None
            if kind == "entity":
                yield msgspec.convert(content, Entity), len(line)
            elif kind == "relation":
                yield msgspec.convert(content, Relation), len(line)
        except (ValueError, RecursionError) as error:
            raise errors.InvalidArgument(str(error), field=f"line {number}") from None


async def import_file(graph: Graph, lines: Iterable[bytes]) -> Imported:
    """Take in a memory file, in its order; however often it is run, nothing is there twice.

    An entity that is there already gets the observations it lacks. The file is read whole before anything is written.
    """
    found = list(read_file(lines))
    counts: dict[Any, int] = {Entity: 0, Relation: 0}
    new_entities = new_relations = new_observations = 0
    for kind, group in groupby(found, key=lambda one: type(one[0])):
        for batch in _batches(group):
            counts[kind] += len(batch)
            if kind is Relation:
                new_relations += len(await graph.create_relations(batch))
                continue
            created = await graph.create_entities(batch)
            new_entities += len(created)
            new = {id(entity) for entity in created}
            known = [Addition(one.name, one.observations) for one in batch if id(one) not in new]
            if known:
                added = await graph.add_observations(known)
                new_observations += sum(len(one.added_observations) for one in added)
    return Imported(counts[Entity], counts[Relation], new_entities, new_relations, new_observations)


def _batches(group: Iterable[tuple[Any, int]]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    size = 0
    for one, length in group:
        if batch and (len(batch) == BATCH or size + length > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += length
    if batch:
        yield batch
