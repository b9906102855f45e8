"""The head and the event of namespace settings."""

from __future__ import annotations

from recollectd.memory.kind import Description, Event, Head, Mark
from recollectd.protocol import table
from recollectd.storage.keyspace import PUT, Family, Write


class HistoryPolicy(Head, frozen=True):
    """How much history a state record keeps. count: versions, the newest included; age_us; 0 stands for unlimited."""

    count: int = 0
    age_us: int = 0


class SettingsChanged(Event, frozen=True, tag=64):
    """A namespace's settings were set; the key is the record key with an empty key part."""

    policy: HistoryPolicy


def apply_settings_changed(event: SettingsChanged, mark: Mark, writes: list[Write]) -> None:
    """Write the head."""
    writes.append((PUT, Family.HEADS, event.key, table.encode(event.policy)))


def describe_settings_changed(event: SettingsChanged) -> Description:
    """Say what happened."""
    return Description("configure", 0)
