"""A key-value store of LangChain: a state record for each key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
from langchain_core.runnables import run_in_executor
from langchain_core.stores import BaseStore, InvalidKeyException

from recollectd.adapters.langchain.common import in_their_terms, place
from recollectd.client import Client, arguments
from recollectd.client.results import Page
from recollectd.protocol import errors

V = TypeVar("V")
_BATCH_ITEMS: Final = 1_000
_BATCH_BYTES: Final = 8 * 1024 * 1024
_PAGE_KEYS: Final = 1_000


class RecollectdStore(BaseStore[str, V], Generic[V]):
    """Values by key: anything of JSON, or bytes.

        store: RecollectdStore[dict[str, str]] = RecollectdStore(client, "profiles")
        store.mset([("ada", {"name": "Ada"})])

    Keys have 1 to 1,024 bytes of UTF-8, else InvalidKeyException; a value has at most 8 MiB as msgpack. Values that are
    neither, and a daemon that does not answer, raise LangChainException. Up to 1,000 pairs and 8 MiB are set all or
    none; more than that in so many steps. Keys come in the order of their bytes.
    """

    def __init__(self, client: Client, name: str = "store", *, ttl: float | None = None) -> None:
        """Use a client, which stays the caller's to close. name: of this store among others; ttl: seconds."""
        self._client = place(client, "store", name)
        self._ttl = ttl

    def mget(self, keys: Sequence[str]) -> list[V | None]:
        """Return the value of each key, None where there is none."""
        with in_their_terms():
            found = self._client.state.get_many(_checked(keys))
        return [found[key].value if key in found else None for key in keys]

    def mset(self, key_value_pairs: Sequence[tuple[str, V]]) -> None:
        """Set values; of pairs with the same key the last counts."""
        records = dict(key_value_pairs)
        _checked(records)
        with in_their_terms():
            packed = {key: _packed(key, content) for key, content in records.items()}
            for batch in _batches(packed):
                self._client.state.put_many(batch, ttl=self._ttl)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Delete keys; those that are not there are passed over."""
        wanted = list(dict.fromkeys(_checked(keys)))
        with in_their_terms():
            for start in range(0, len(wanted), _BATCH_ITEMS):
                with self._client.batch() as batch:
                    for key in wanted[start : start + _BATCH_ITEMS]:
                        batch.state.delete(key)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """Walk the keys, all or those that begin with a prefix, in the order of their bytes."""
        cursor = b""
        while True:
            page = self._page(prefix or "", cursor)
            yield from (record.key for record in page.records)
            cursor = page.cursor
            if not cursor:
                return

    async def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        """See yield_keys."""
        cursor = b""
        while True:
            page = await run_in_executor(None, self._page, prefix or "", cursor)
            for record in page.records:
                yield record.key
            cursor = page.cursor
            if not cursor:
                return

    def _page(self, prefix: str, cursor: bytes) -> Page:
        with in_their_terms():
            return self._client.state.scan_page(prefix, limit=_PAGE_KEYS, cursor=cursor, values=False)


class RecollectdByteStore(RecollectdStore[bytes]):
    """A RecollectdStore of bytes, as LangChain's `ByteStore`: for embeddings and documents."""


def _checked(keys: Sequence[str] | dict[str, Any]) -> list[str]:
    for key in keys:
        try:
            arguments.name(key, "key")
        except errors.InvalidArgument as error:
            raise InvalidKeyException(str(error)) from error
    return list(keys)


def _packed(key: str, content: object) -> msgspec.Raw:
    # A value that would come back as something else, say a date as text, is refused: the store is not to lose types.
    packed = arguments.packed(content, f"value of {key!r}")
    if arguments.plain(packed) != content:
        raise errors.InvalidArgument(
            f"{type(content).__name__} would not come back as it is", field=f"value of {key!r}"
        )
    return packed


def _batches(records: dict[str, msgspec.Raw]) -> Iterator[dict[str, msgspec.Raw]]:
    batch: dict[str, msgspec.Raw] = {}
    size = 0
    for key, content in records.items():
        length = memoryview(content).nbytes
        if batch and (len(batch) == _BATCH_ITEMS or size + length > _BATCH_BYTES):
            yield batch
            batch, size = {}, 0
        batch[key] = content
        size += length
    if batch:
        yield batch
