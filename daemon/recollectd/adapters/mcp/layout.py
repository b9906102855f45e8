"""Where the graph lies: state records and one log in the namespace `(…, "graph")`. Do not change: it is stored.

    entity/<name>                   name, the entities of this name as [index, entityType, observations]
    from/<end>/<relation>           from, to, relationType, one index for each such relation
    to/<end>/<relation>             the `from` end of the relation's record
    ends/<end>                      written with every relation of the entity: who deletes it reads this first
    log `changes`                   for each change the keys of entities and relations that it touched

<end> and <relation> are hashes: names may be longer than keys, and hold anything. A name too long for a key of its own
is hashed, too. Entities and relations come in the order of the time when their record was created, then of the index
within the call that created it. (One call may create several entities of one name; a later one creates none.)
"""

from __future__ import annotations

import hashlib
from typing import Final

NAMESPACE: Final = "graph"
CHANGES: Final = "changes"
ENTITIES: Final = "entity"
RELATIONS: Final = "from/"

_PLAIN_BYTES_MAX: Final = 512


def digest(*texts: str) -> str:
    """Return a hash of texts; each goes in with its length, so that no two lists of texts are alike."""
    sum_of = hashlib.blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode()
        sum_of.update(len(encoded).to_bytes(8, "big"))
        sum_of.update(encoded)
    return sum_of.hexdigest()


def entity_key(name: str) -> str:
    """Return the key of the entities of a name."""
    if len(name.encode()) <= _PLAIN_BYTES_MAX:
        return f"{ENTITIES}/{name}"
    return f"{ENTITIES}#{digest(name)}"


def relation_key(source: str, target: str, relation_type: str) -> str:
    """Return the key of a relation."""
    return f"{RELATIONS}{digest(source)}/{digest(source, target, relation_type)}"


def back_key(source: str, target: str, relation_type: str) -> str:
    """Return the key by which the relation is found from its target."""
    return f"to/{digest(target)}/{digest(source, target, relation_type)}"


def ends_key(name: str) -> str:
    """Return the key that every new relation of a name writes."""
    return f"ends/{digest(name)}"


def outgoing_prefix(name: str) -> str:
    """Return what the keys of relations from a name begin with."""
    return f"{RELATIONS}{digest(name)}/"


def incoming_prefix(name: str) -> str:
    """Return what the keys that lead back from a name begin with."""
    return f"to/{digest(name)}/"
