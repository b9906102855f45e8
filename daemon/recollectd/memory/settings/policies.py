"""Which history policy holds for a record: the longest configured prefix of its namespace decides."""

from __future__ import annotations

from collections.abc import Iterable

from recollectd.memory.settings.events import HistoryPolicy
from recollectd.storage.keyspace import namespace_end


class Policies:
    """All configured policies, in memory: there are few. Unconfigured namespaces have the default."""

    def __init__(self, default: HistoryPolicy, configured: Iterable[tuple[bytes, HistoryPolicy]] = ()) -> None:
        self._default = default
        self._configured: dict[bytes, HistoryPolicy] = {}
        self._resolved: dict[bytes, HistoryPolicy] = {}
        self.everywhere: HistoryPolicy | None = default  # the one of all, while none is configured
        for key, policy in configured:
            self.set(key, policy)

    def set(self, key: bytes, policy: HistoryPolicy) -> None:
        """Configure the namespace of a settings record key and all below it."""
        self.everywhere = None
        self._configured[key[1 : namespace_end(key) - 1]] = policy
        self._resolved = {}  # a new one: another thread may be about to put what it found before into the old

    def of(self, key: bytes) -> HistoryPolicy:
        """Return the policy for a record key."""
        if self.everywhere is not None:
            return self.everywhere
        namespace = key[1 : namespace_end(key) - 1]
        resolved = self._resolved
        known = resolved.get(namespace)
        if known is None:
            if len(resolved) >= 10_000:
                resolved.clear()
            known = resolved[namespace] = self._resolve(namespace)
        return known

    def _resolve(self, namespace: bytes) -> HistoryPolicy:
        ends = [0]
        while ends[-1] < len(namespace):
            ends.append(ends[-1] + 1 + namespace[ends[-1]])
        for end in reversed(ends):
            policy = self._configured.get(namespace[:end])
            if policy is not None:
                return policy
        return self._default
