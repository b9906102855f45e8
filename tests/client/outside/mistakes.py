"""What type checkers must refuse: each line marked REFUSED, and no other."""

from __future__ import annotations

from recollectd.client import AsyncClient, Client
from recollectd.client.blocking.faces import Transaction


def mistakes(memory: Client, later: AsyncClient) -> None:
    """Make every mistake once."""
    memory.state.get(5)  # REFUSED
    memory.state.put("k", 1, ttl="soon")  # REFUSED
    memory.state.put("k", 1, expires=5)  # REFUSED
    memory.with_options(durability="never")  # REFUSED
    memory.state.get("k").value  # REFUSED
    memory.state.get_many("k" for _ in range(3))
    with memory.batch() as batch:
        batch.state.get("k")  # REFUSED
        batch.state.delete_prefix("k")  # REFUSED
        batch.state.put("k", 1)
    with memory.pipeline() as pipeline:
        pipeline.state.scan()  # REFUSED
        pipeline.logs.pop_last("log")
    version: int = later.state.put("k", 1)  # REFUSED
    for _ in later.state.scan():  # REFUSED
        assert version


def transaction(transaction: Transaction) -> None:
    """Take for a result what is none."""
    transaction.logs.pop_last("log")  # REFUSED
    transaction.state.put("k", 1)
    transaction.logs.append("log", [1]).next  # REFUSED
