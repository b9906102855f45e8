"""Settings of namespaces, declared."""

from __future__ import annotations

from recollectd.memory.kind import Draft, KindSpec, WriteOperation
from recollectd.memory.settings.events import (
    HistoryPolicy,
    SettingsChanged,
    apply_settings_changed,
    describe_settings_changed,
)
from recollectd.memory.settings.namespaces import ListNamespaces
from recollectd.protocol.messages.connection import Done, NamespaceConfigure, NamespaceList
from recollectd.protocol.messages.fields import Kind
from recollectd.storage.keyspace import kind_prefix


class Configure(WriteOperation[NamespaceConfigure]):
    """Sets a namespace's history policy."""

    __slots__ = ()

    def __init__(self, request: NamespaceConfigure) -> None:
        super().__init__(request)
        self.keys = (kind_prefix(Kind.SETTINGS, request.namespace),)

    def write(self, draft: Draft) -> Done:
        """Replace the settings."""
        assert self.keys is not None
        policy = HistoryPolicy(self.request.history_count or 0, self.request.history_age_us or 0)
        draft.put(self.keys[0], policy)
        draft.emit(SettingsChanged(self.keys[0], policy))
        return Done()


KIND = KindSpec(
    kind=Kind.SETTINGS,
    head=HistoryPolicy,
    events={SettingsChanged: (apply_settings_changed, describe_settings_changed)},
    follows={},
    writes={NamespaceConfigure: Configure},
    reads={NamespaceList: ListNamespaces},
)
