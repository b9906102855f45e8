"""langchain-tests: the suites for key-value stores and caches."""

from __future__ import annotations

from typing import Any, Final

import pytest
from langchain_core.caches import BaseCache
from langchain_core.stores import BaseStore
from langchain_tests.integration_tests.base_store import BaseStoreAsyncTests, BaseStoreSyncTests
from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite

from recollectd.adapters.langchain import RecollectdByteStore, RecollectdCache, RecollectdStore
from recollectd.client import Client

EXCEPTIONS: Final[dict[str, str]] = {}


class StoreOfBytes:
    @pytest.fixture
    def kv_store(self, client: Client) -> BaseStore[str, bytes]:
        return RecollectdByteStore(client)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"\x00\xff", b""


class StoreOfValues:
    @pytest.fixture
    def kv_store(self, client: Client) -> BaseStore[str, Any]:
        return RecollectdStore(client)

    @pytest.fixture
    def three_values(self) -> tuple[Any, Any, Any]:
        return {"foo": [1, 2.5, None]}, "bär", 0


class TestByteStore(StoreOfBytes, BaseStoreSyncTests[bytes]):
    pass


class TestByteStoreAsync(StoreOfBytes, BaseStoreAsyncTests[bytes]):
    pass


class TestStore(StoreOfValues, BaseStoreSyncTests[Any]):
    pass


class TestStoreAsync(StoreOfValues, BaseStoreAsyncTests[Any]):
    pass


class TestCache(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, client: Client) -> BaseCache:
        return RecollectdCache(client)


class TestCacheAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, client: Client) -> BaseCache:
        return RecollectdCache(client)
