"""The tree of all options. Each is declared once, in `serving` or `storing`, as a field of its section.

Bounds of the protocol, which are the same for every daemon, are in `recollectd.protocol.limits`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct, field

from recollectd.config.declare import Option, options_of
from recollectd.config.serving import SOCKET_NAME, DataOptions, ListenOptions, ServerOptions
from recollectd.config.storing import HistoryOptions, JournalOptions, RecordsOptions, ShardsOptions


class Config(Struct, frozen=True, kw_only=True):
    """All options of a daemon. origins: where each value came from, by `section.option`; what is missing is default."""

    data: DataOptions = field(default_factory=DataOptions)
    listen: ListenOptions = field(default_factory=ListenOptions)
    server: ServerOptions = field(default_factory=ServerOptions)
    journal: JournalOptions = field(default_factory=JournalOptions)
    records: RecordsOptions = field(default_factory=RecordsOptions)
    history: HistoryOptions = field(default_factory=HistoryOptions)
    shards: ShardsOptions = field(default_factory=ShardsOptions)
    origins: dict[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """The data folder; only where `data.directory` is set."""
        assert self.data.directory, "data.directory is not set"
        return Path(self.data.directory)

    @property
    def socket_path(self) -> Path:
        """Where the Unix socket lies: as given, or inside the data folder."""
        return Path(self.listen.socket) if self.listen.socket else self.directory / SOCKET_NAME


OPTIONS: Final[tuple[Option, ...]] = options_of(Config)
OPTION_BY_PATH: Final[dict[str, Option]] = {declared.path: declared for declared in OPTIONS}
