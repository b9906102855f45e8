"""Names and records of stored threads and items, which must be found again by every later version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langgraph.store.base import IndexConfig

from recollectd.adapters.langgraph import RecollectdSaver, RecollectdStore, names
from recollectd.testing import Daemon
from support.checkpoints import Branch

Namespace = tuple[str, ...]


def test_names() -> None:
    assert names.token("a/b%") == "=a%2Fb%25"
    assert names.token("x" * 120) == "#fa04156e7135c14e10c37accbeabd8555f90685fe3ad6a02df3c64e59a387eb5"
    assert names.thread_namespace(("base",), "=t") == ("base", "threads", "=t")
    assert names.runs_namespace(("base",)) == ("base", "runs")
    assert names.run_key("r", "=t") == "=r/=t"
    assert names.checkpoint_key("child|1", "id") == "c/=child|1/id"
    assert names.writes_prefix("c/=ns/i/d") == "w/=ns/=i%2Fd/"
    assert names.values_log("=ns", "messages") == "v/=ns/=messages"


def test_a_thread_lies_where_it_is_said_to(daemon: Daemon, saver: RecollectdSaver, namespace: Namespace) -> None:
    branch = Branch(saver)
    config = branch.put({"n": 1, "text": "t" * 100}, run_id="r")
    saver.put_writes(config, [("n", 2)], "task", "path")
    key = config["configurable"]["checkpoint_id"]
    with daemon.client(namespace=(*namespace, "threads", "=t")) as client:
        records: dict[str, Any] = {record.key: record.value for record in client.state.scan()}
        assert set(records) == {"thread", f"c/=/{key}", f"w/=/={key}/=task"}
        assert records["thread"] == "t"
        form, ns, parent, run_id, checkpoint, metadata, values = records[f"c/=/{key}"]
        assert (form, ns, parent, run_id) == (1, "", None, "r")
        assert saver.serde.loads_typed(tuple(checkpoint))["channel_versions"] == {"n": 1, "text": 1}
        assert saver.serde.loads_typed(tuple(metadata))["run_id"] == "r"
        assert values == {"n": ["msgpack", b"\x01", [], False], "text": ["msgpack", b"", [["text", 0, 1]], False]}
        assert [item.value for item in client.logs.iterate("v/=/=text")] == [b"\xd9\x64" + b"t" * 100]
        assert records[f"w/=/={key}/=task"] == ["task", [[0, "n", "msgpack", b"\x02", "path"]]]
        assert [record.key for record in client.with_namespace(*namespace, "runs").state.scan()] == ["=r/=t"]


def test_an_item_lies_where_it_is_said_to(daemon: Daemon, namespace: Namespace) -> None:
    index: IndexConfig = {"dims": 2, "embed": _embed}
    with RecollectdStore(daemon.url, namespace=namespace, index=index) as store:
        store.put(("users", "ada"), "city", {"name": "Lisbon"}, ttl=2)
    with daemon.client(namespace=(*namespace, "store", "users", "ada")) as client:
        record = client.state.get("city")
        assert record is not None
        assert record.value == {"value": {"name": "Lisbon"}, "ttl_s": 120.0, "vectors": 1}
        memory = client.memories.get("82dd1e1ff5a25818696159b2ab0a8452/0", vectors=True)
        assert memory is not None
        assert memory.text == "city"
        assert memory.vectors is not None
        assert memory.vectors["langgraph"] == pytest.approx([0.6, 0.8])
        assert memory.expires_at is not None
        assert memory.expires_at == record.expires_at


def _embed(texts: Sequence[str]) -> list[list[float]]:
    return [[3.0, 4.0] for _ in texts]
