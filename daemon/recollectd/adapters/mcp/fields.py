"""What tools take and give, declared once: from it schemas are made, and by it arguments are checked."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T", bound=Struct)


class Entity(Struct, frozen=True, rename={"entity_type": "entityType"}):
    """A thing that is remembered."""

    name: Annotated[str, Meta(description="The name of the entity")]
    entity_type: Annotated[str, Meta(description="The type of the entity")]
    observations: Annotated[list[str], Meta(description="An array of observation contents associated with the entity")]


class Relation(Struct, frozen=True, rename={"source": "from", "target": "to", "relation_type": "relationType"}):
    """A relation between two entities."""

    source: Annotated[str, Meta(description="The name of the entity where the relation starts")]
    target: Annotated[str, Meta(description="The name of the entity where the relation ends")]
    relation_type: Annotated[str, Meta(description="The type of the relation")]


class Addition(Struct, frozen=True, rename={"entity_name": "entityName"}):
    """Observations to add."""

    entity_name: Annotated[str, Meta(description="The name of the entity to add the observations to")]
    contents: Annotated[list[str], Meta(description="An array of observation contents to add")]


class Added(Struct, frozen=True, rename={"entity_name": "entityName", "added_observations": "addedObservations"}):
    """Observations that were added."""

    entity_name: str
    added_observations: list[str]


class Deletion(Struct, frozen=True, rename={"entity_name": "entityName"}):
    """Observations to delete."""

    entity_name: Annotated[str, Meta(description="The name of the entity containing the observations")]
    observations: Annotated[list[str], Meta(description="An array of observations to delete")]


class Entities(Struct, frozen=True):
    """Arguments and result of create_entities."""

    entities: list[Entity]


class Relations(Struct, frozen=True):
    """Arguments and result of create_relations, arguments of delete_relations."""

    relations: Annotated[list[Relation], Meta(description="An array of relations")]


class Additions(Struct, frozen=True):
    """Arguments of add_observations."""

    observations: list[Addition]


class Results(Struct, frozen=True):
    """Result of add_observations."""

    results: list[Added]


class EntityNames(Struct, frozen=True, rename={"entity_names": "entityNames"}):
    """Arguments of delete_entities."""

    entity_names: Annotated[list[str], Meta(description="An array of entity names to delete")]


class Deletions(Struct, frozen=True):
    """Arguments of delete_observations."""

    deletions: list[Deletion]


class Outcome(Struct, frozen=True):
    """Result of tools that delete."""

    success: bool
    message: str


class Nothing(Struct, frozen=True):
    """No arguments."""


class Query(Struct, frozen=True):
    """Arguments of search_nodes."""

    query: Annotated[
        str, Meta(description="The search query to match against entity names, types, and observation content")
    ]


class Names(Struct, frozen=True):
    """Arguments of open_nodes."""

    names: Annotated[list[str], Meta(description="An array of entity names to retrieve")]


class GraphPart(Struct, frozen=True):
    """Entities and relations, in the order in which they were created."""

    entities: list[Entity]
    relations: list[Relation]


def schema(type: type[Struct]) -> dict[str, Any]:
    """Return a type's JSON schema with an object at its root, as MCP wants it."""
    (root,), parts = msgspec.json.schema_components((type,), ref_template="#/$defs/{name}")
    made = dict(parts.pop(root["$ref"].rpartition("/")[2]))
    made.pop("title", None)
    made.pop("description", None)
    return {**made, "$defs": parts} if parts else made


def text_of(value: Any) -> str:
    """Return a value as indented JSON, as the reference shows it."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
