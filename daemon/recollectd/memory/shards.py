"""Shards: the first labels of a namespace decide where a record lives."""

from __future__ import annotations

from collections.abc import Sequence

from recollectd.protocol import errors


def check_one_shard(namespaces: Sequence[tuple[str, ...]], shard_labels: int) -> None:
    """Refuse namespaces that differ in their first labels."""
    shards = {namespace[:shard_labels] for namespace in namespaces}
    if len(shards) > 1:
        first, second = sorted(shards)[:2]
        raise errors.CrossShard(f"{first} and {second} may not share a transaction", field="namespace")
