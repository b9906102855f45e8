"""A watch's state: what has been told, and how to go on from there over another connection; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from recollectd.client.arguments import plain, range_text, whole
from recollectd.client.results import Change
from recollectd.client.session import from_reply
from recollectd.client.times import iso_time
from recollectd.protocol import errors
from recollectd.protocol.messages import transactions as messages
from recollectd.protocol.messages.connection import ErrorReply, Welcome
from recollectd.protocol.messages.fields import Kind, Reply

_KINDS: Final = {kind.name.lower(): kind for kind in Kind}
_KIND_NAMES: Final = {int(kind): kind_name for kind_name, kind in _KINDS.items()}


class WatchState:
    """What a watch asks for and how far it has come.

    position: everything up to it has been told; None before the watch is in place for the first time.
    in_place: whether the daemon has confirmed the last request.
    """

    def __init__(
        self,
        namespace: tuple[str, ...],
        prefix: str,
        kinds: Iterable[str],
        position: int | None,
        values: bool,
    ) -> None:
        wanted = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        if not all(kind in _KINDS for kind in wanted):
            raise errors.InvalidArgument(f"must be some of {', '.join(_KINDS)}", field="kinds")
        self._namespace = namespace
        self._prefix = range_text(prefix, "prefix")
        self._kinds = tuple(int(_KINDS[kind]) for kind in wanted)
        self._values = values
        self._store_id = b""
        self.in_place = False
        self.position = None if position is None else whole(position, "position")

    def request(self, welcome: Welcome) -> messages.Watch:
        """Return the request that begins the watch, or goes on with it. Raises Resync on another store."""
        if self._store_id not in (b"", welcome.store_id):
            raise errors.Resync("another store answers at this address; its positions have nothing to do with the old")
        self._store_id = welcome.store_id
        return messages.Watch(self._namespace, self._prefix, self._kinds, self.position, self._values)

    def take(self, reply: Reply) -> Sequence[Change]:
        """Take an answer and return the changes it tells of. Raises the error that ends the watch."""
        match reply:
            case messages.Watching(position):
                self.in_place = True
                self.position = position if self.position is None else self.position
                return ()
            case messages.Changes(changes, position):
                self.position = position
                return [_change(change) for change in changes]
            case ErrorReply():
                raise from_reply(reply)
        raise errors.InvalidMessage(f"the daemon answered a watch with {type(reply).__name__}")


def _change(wire: messages.Change) -> Change:
    return Change(
        wire.position,
        _KIND_NAMES.get(wire.kind, str(wire.kind)),
        wire.operation,
        wire.namespace,
        wire.key,
        iso_time(wire.time),
        wire.version,
        plain(wire.data),
    )
