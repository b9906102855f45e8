"""The blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from types import TracebackType
from typing import Literal, Self, TypeVar

from recollectd.client.address import parse_url
from recollectd.client.arguments import label_tuple, whole
from recollectd.client.blocking.engine import Engine
from recollectd.client.blocking.faces import BlockingBatch, BlockingFace, Transaction
from recollectd.client.blocking.pipeline import Pipeline, PipelineFace
from recollectd.client.blocking.pool import Pool
from recollectd.client.blocking.watch import Watch
from recollectd.client.calls import Blocking
from recollectd.client.embedding import Embedder, Embedding, as_embedding
from recollectd.client.kinds.everything import Everything
from recollectd.client.options import Options
from recollectd.client.retry import conflict_delay_s
from recollectd.client.watching import WatchState
from recollectd.protocol import errors

T = TypeVar("T")


class Client(Everything[Blocking]):
    """A client whose calls block; threads may share it.

    url: `unix:///PATH` or `tcp://HOST:PORT`; without one RECOLLECTD_URL, or else unix:///run/recollectd/recollectd.sock.
    namespace: the labels that all calls are about; see `with_namespace`.
    timeout: seconds for each call, connecting and all attempts included.
    durability: "sync": a write returns when no crash can take it back; "async": when it survives the end of the
        daemon's process by any means, but not the loss of power.
    connections_max: as many connections as calls may use at once; each watch has one more of its own.
    name: what the daemon's log and status call this client.
    embedder: makes vectors of texts, in batches, for memories added and searched; see recollectd.client.embedding.

    Connections are opened when they are needed and again when they are lost, and calls are repeated within their
    timeout: reads freely, writes so that they happen exactly once. RequestTimeout on a write means that it may have
    happened. A client is of no use in a child process after a fork (UsedAfterFork): make one there.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: Sequence[str] = ("default",),
        timeout: float = 30.0,
        durability: Literal["sync", "async"] = "sync",
        connections_max: int = 8,
        name: str = "",
        embedder: Embedder | Embedding | None = None,
    ) -> None:
        options = Options(timeout, durability, connections_max, name)
        pool = Pool(parse_url(url), options.name, options.connections_max)
        self._engine = Engine(pool, options.timeout, durable=options.durable)
        self._embedding = as_embedding(embedder)
        super().__init__(BlockingFace(self._engine), label_tuple(namespace))

    @classmethod
    def local(
        cls,
        folder: str | PathLike[str],
        *,
        exit_when_idle: float = 60.0,
        namespace: Sequence[str] = ("default",),
        timeout: float = 30.0,
        durability: Literal["sync", "async"] = "sync",
        connections_max: int = 8,
        name: str = "",
        embedder: Embedder | Embedding | None = None,
    ) -> Self:
        """Return a client of the daemon of this folder, which is made, and its daemon started, where there is none.

        All processes that name the folder share its daemon, which ends `exit_when_idle` seconds after its last client
        is gone; a client that comes back to it later starts it again. Needs the packages of `recollectd[daemon]`.
        Raises DaemonUnavailable, with the end of the daemon's log, when it does not start.
        """
        from recollectd.client.local import LocalDaemon  # users of `local` alone pay for its imports

        daemon = LocalDaemon(folder, exit_when_idle)
        client = cls(
            daemon.url,
            namespace=namespace,
            timeout=timeout,
            durability=durability,
            connections_max=connections_max,
            name=name,
            embedder=embedder,
        )
        daemon.start()
        client._engine.pool.rescue = daemon.start
        return client

    def with_options(self, *, timeout: float | None = None, durability: Literal["sync", "async"] | None = None) -> Self:
        """Return a view of this client with another timeout or durability."""
        given = Options(
            self._engine.timeout if timeout is None else timeout,
            ("sync" if self._engine.durable else "async") if durability is None else durability,
        )
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._engine = Engine(self._engine.pool, given.timeout, durable=given.durable)
        Everything.__init__(view, BlockingFace(view._engine), self.namespace)
        return view

    @property
    def position(self) -> int:
        """The journal position of this client's newest answered write; 0 before the first. Its reads include it."""
        return self._engine.pool.session.position

    def pipeline(self, *, raises: bool = True) -> Pipeline:
        """Return a pipeline: `with client.pipeline() as pipeline: ...`. See Pipeline."""
        return Pipeline(PipelineFace(self._engine), self.namespace, raises=raises).embedding_with(self._embedding)

    def batch(self, *, raises: bool = True) -> BlockingBatch:
        """Return a batch: `with client.batch() as batch: ...`. See Batch."""
        return BlockingBatch(self._engine, self.namespace, raises=raises).embedding_with(self._embedding)

    def transact(self, function: Callable[[Transaction], T], *, attempts: int = 10) -> T:
        """Run a function as one atomic, serializable transaction and return what it returned.

        The function is run again, up to `attempts` times, when what it read has changed before its commit; so it must
        do nothing that cannot be repeated. After the last attempt TransactionConflict is raised. Any exception from
        the function ends the transaction, and nothing of it is written.
        """
        conflict: errors.TransactionConflict | None = None
        for attempt in range(whole(attempts, "attempts", least=1)):
            if attempt:
                self._engine.pool.pause(conflict_delay_s(attempt))
            transaction = Transaction(self._engine, self.namespace).embedding_with(self._embedding)
            try:
                result = function(transaction)
                call = transaction.commit_call()
                if call is not None:
                    self._engine.perform(call)
                return result
            except errors.TransactionConflict as error:
                conflict = error
        raise errors.TransactionConflict(f"still in conflict after {attempts} attempts: {conflict}") from conflict

    def watch(
        self,
        prefix: str = "",
        *,
        namespace: Sequence[str] | None = None,
        kinds: Iterable[str] = (),
        position: int | None = None,
        values: bool = False,
    ) -> Watch:
        """Return an iterator over changes in a namespace and all below it, from now on or behind a position.

        prefix: only of keys and ids beginning with it; kinds: only of `state`, `log`, `conversation`, `settings`;
        values: with the values, items and messages. See Watch.
        """
        target = self.namespace if namespace is None else label_tuple(namespace)
        return Watch(self._engine, WatchState(target, prefix, kinds, position, values))

    def close(self) -> None:
        """Close the connections, also those of all views; calls under way and waiting raise ClientClosed."""
        self._engine.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
