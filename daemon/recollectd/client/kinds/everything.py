"""All kinds of record side by side, as a client, a pipeline, a batch and a transaction offer them."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any, Self

from recollectd.client.arguments import label_tuple, optional_whole
from recollectd.client.calls import Call, Calls, Face, Style, Turn, Walk, ask, operation, query, walk
from recollectd.client.embedding import Embedding
from recollectd.client.kinds.common import WALK_PAGE_ITEMS
from recollectd.client.kinds.conversations import Conversations
from recollectd.client.kinds.logs import Logs
from recollectd.client.kinds.memories import Memories
from recollectd.client.kinds.state import State
from recollectd.client.kinds.vector_spaces import VectorSpaces
from recollectd.client.results import Erasure
from recollectd.client.times import duration_us
from recollectd.protocol.messages import connection as messages
from recollectd.protocol.messages import erasing


class Everything(Calls[Style]):
    """The kinds of record of one namespace, and calls about namespaces and the daemon."""

    state: State[Style]
    logs: Logs[Style]
    conversations: Conversations[Style]
    memories: Memories[Style]
    vector_spaces: VectorSpaces[Style]

    _embedding: Embedding | None = None

    def __init__(self, face: Face, namespace: tuple[str, ...]) -> None:
        super().__init__(face, namespace)
        self.state = State(face, namespace)
        self.logs = Logs(face, namespace)
        self.conversations = Conversations(face, namespace)
        self.memories = Memories(face, namespace)
        self.vector_spaces = VectorSpaces(face, namespace)
        self.embedding_with(self._embedding)

    def embedding_with(self, embedding: Embedding | None) -> Self:
        """Let texts be embedded by this, and return itself."""
        self._embedding = self.memories.embedding = self.vector_spaces.embedding = embedding
        self.conversations.embedding = embedding if embedding is not None and embedding.messages else None
        return self

    def with_namespace(self, *labels: str) -> Self:
        """Return a view of the same client, pipeline, batch or transaction on another namespace."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        Everything.__init__(view, self._face, label_tuple(labels))
        return view

    @query
    def ping(self) -> Call[float]:
        """Return how many seconds the daemon took to answer, connecting included if that was needed."""
        began = monotonic()
        return ask(messages.Ping(), lambda _: monotonic() - began)

    @query
    def status(self, *, namespaces: bool = False) -> Call[dict[str, Any]]:
        """Return how the daemon is, by section; with `namespaces` also counts by namespace, which takes a while."""
        return ask(messages.StatusRequest(namespaces), _status)

    @query
    def erase(self, *, start: bool = True) -> Call[Erasure]:
        """Ask that no byte of memories deleted or replaced so far stay in the files of searches; return how it stands.

        The daemon does it beside its work: call again, with start=False, until `done`. Backups, history and the journal
        keep what they keep.
        """
        return ask(erasing.Erase(start), _erasure)

    @walk
    def namespaces(self, prefix: Sequence[str] = ()) -> Walk[tuple[str, ...]]:
        """Walk all namespaces that have records, vector spaces or settings of search, or those beginning with `prefix`.

        prefix: their first labels.
        """
        labels = label_tuple(prefix, "prefix") if prefix else ()

        def page(cursor: bytes) -> Walk[tuple[str, ...]]:
            def turn(reply: messages.NamespacePage) -> Turn[tuple[str, ...]]:
                return Turn(reply.namespaces, page(reply.cursor) if reply.cursor else None)

            return ask(messages.NamespaceList(labels, WALK_PAGE_ITEMS, cursor), turn)

        return page(b"")

    @operation
    def configure_history(
        self, *, count: int | None, age_s: float | None, namespace: Sequence[str] | None = None
    ) -> Call[None]:
        """Set how many versions state records keep (the newest included) and for how many seconds; None: unlimited.

        namespace: of it and all below it, where nothing nearer is configured; without, this view's.
        """
        target = self.namespace if namespace is None else label_tuple(namespace)
        request = messages.NamespaceConfigure(
            target, optional_whole(count, "count", least=1), duration_us(age_s, "age_s")
        )
        return ask(request, _done)


def _erasure(reply: erasing.ErasureState) -> Erasure:
    return Erasure(reply.asked_seq, reply.erased_seq, reply.running, reply.failure or None)


def _status(reply: messages.Status) -> dict[str, Any]:
    return reply.status


def _done(reply: messages.Done) -> None:
    del reply
