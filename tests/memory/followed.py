"""A store in memory with the views over its memories, which are told when a test says so."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from memory.asking import NS
from memory.harness import Store, TestView
from recollectd.memory import commits
from recollectd.memory.memories.opening import open_views
from recollectd.memory.memories.rebuilding import Rebuild
from recollectd.memory.memories.view_options import ViewOptions
from recollectd.memory.memories.views import MemoryViews
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.fields import Message
from recollectd.storage.engine import Engine


class Followed:
    """A store and its views, which can be opened again."""

    def __init__(self, folder: Path, options: ViewOptions = ViewOptions(0)) -> None:  # noqa: B008 - frozen
        self.folder = folder
        self.options = options
        self.store = Store()
        self.views = self.open()
        self._followed = 0

    def open(self) -> MemoryViews:
        """Open views as a start does, with what is in the files."""
        return open_views(self.folder, cast("Engine", self.store.engine), self.options)

    def reopen(self) -> None:
        """Open the views again: what was told since the last checkpoint is lost to them."""
        self.views.close()
        self.views = self.open()
        self._followed = self.store.position

    def write(self, *requests: Message) -> None:
        """Write, and tell the views."""
        for request in requests:
            self.store.write(request)
            self.follow()

    def follow(self) -> None:
        """Tell the views what was written behind their back, all of it at once."""
        self.note()
        self.views.tell_waiting()

    def note(self) -> None:
        """Let the views note what was written behind their back."""
        journal = self.store.journal
        first, self._followed = self._followed + 1, len(journal)
        self.views.follow([(seq, commits.decode(journal[seq - 1])) for seq in range(first, len(journal) + 1)])

    def index_anew(self) -> bool:
        """Do one step of what is to be indexed anew, and leave it untold; return whether there was one."""
        return self.store.run(Rebuild(self.views))

    def trim(self) -> None:
        """Make everything told durable, and forget that it had changed."""
        self.views.checkpoint()
        if rows := self.views.trim():
            self.store.engine.write(rows, self.store.engine.applied_seq)

    def search(self, **told: object) -> set[str]:
        """Return what a search finds."""
        view: TestView = self.store.view()
        view.memories = self.views
        found = self.store.read(messages.MemorySearch(NS, limit=100, **told), view=view)  # type: ignore[arg-type]
        return {result.memory.memory_id for result in found.results}
