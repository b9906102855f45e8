"""Several operations in one commit: all or none (Transaction), or each on its own (Batch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from recollectd.memory.commits import KINDS
from recollectd.memory.kind import Draft, Facts, WriteOperation
from recollectd.memory.refusals import error_reply
from recollectd.memory.shards import check_one_shard
from recollectd.memory.state.events import StateHead
from recollectd.protocol import errors, limits
from recollectd.protocol.messages import transactions as messages
from recollectd.protocol.messages.fields import Kind, Write
from recollectd.storage.keyspace import kind_prefix, namespace_bytes, record_key

_SINGLE: dict[type[Write], type[WriteOperation[Any]]] = {
    request: operation for kind in KINDS for request, operation in kind.writes.items()
}
_GUARDED_KINDS = (Kind.STATE, Kind.LOG, Kind.CONVERSATION, Kind.MEMORY)


class _Several(WriteOperation[Any]):
    """What transactions and batches share: operations made from their requests, errors naming the one at fault."""

    __slots__ = ("_operations",)

    names: ClassVar[str] = "operations"

    def __init__(self, request: messages.Transaction | messages.Batch) -> None:
        super().__init__(request)
        if len(request.operations) > limits.OPERATIONS_PER_FRAME_MAX:
            raise errors.InvalidArgument(
                f"must be at most {limits.OPERATIONS_PER_FRAME_MAX}, not {len(request.operations)}", field=self.names
            )
        self._operations = tuple(self._make(index, operation) for index, operation in enumerate(request.operations))
        self.keys = tuple(dict.fromkeys(key for each in self._operations for key in each.keys or ()))

    @staticmethod
    def _make(index: int, request: Write) -> WriteOperation[Any]:
        try:
            return _SINGLE[type(request)](request)
        except errors.RecollectdError as error:
            raise located(error, index) from None

    @property
    def frees(self) -> bool:
        """Whether all operations only give room back."""
        return all(operation.frees for operation in self._operations)

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return what all operations need."""
        return tuple(dict.fromkeys(key for each in self._operations for key in each.needs(facts)))


def located(error: errors.RecollectdError, index: int) -> errors.RecollectdError:
    """Return the error with the operation's place in front of the field."""
    error.field = f"operations[{index}].{error.field}" if error.field else f"operations[{index}]"
    return error


class Transaction(_Several):
    """Guards, then operations; all or none."""

    __slots__ = ("_guard_keys",)

    def __init__(self, request: messages.Transaction) -> None:
        super().__init__(request)
        if len(request.guards) > limits.OPERATIONS_PER_FRAME_MAX:
            raise errors.InvalidArgument(
                f"must be at most {limits.OPERATIONS_PER_FRAME_MAX}, not {len(request.guards)}", field="guards"
            )
        keys: list[bytes] = []
        for index, guard in enumerate(request.guards):
            if guard.kind not in _GUARDED_KINDS:
                raise errors.InvalidArgument(f"there is no kind {guard.kind}", field=f"guards[{index}].kind")
            namespace_bytes(guard.namespace, f"guards[{index}].namespace")
            if isinstance(guard, messages.RecordGuard):
                keys.append(record_key(Kind(guard.kind), guard.namespace, guard.key, f"guards[{index}].key"))
        self._guard_keys = tuple(keys)

    def needs(self, facts: Facts) -> Sequence[bytes]:
        """Return what guards and operations need."""
        return tuple(dict.fromkeys((*self._guard_keys, *super().needs(facts))))

    def write(self, draft: Draft) -> messages.Results:
        """Check shard and guards, then carry out every operation."""
        request: messages.Transaction = self.request
        namespaces = [each.namespace for each in (*request.guards, *request.operations)]
        check_one_shard(namespaces, draft.shard_labels)
        for index, guard in enumerate(request.guards):
            self._check(draft, guard, f"guards[{index}]")
        results: list[Any] = []
        for index, operation in enumerate(self._operations):
            try:
                results.append(operation.write(draft))
            except errors.RequestError as error:
                raise located(error, index) from None
        return messages.Results(tuple(results))

    @staticmethod
    def _check(draft: Draft, guard: messages.Guard, field: str) -> None:
        kind = Kind(guard.kind)
        if isinstance(guard, messages.RangeGuard):
            prefix = kind_prefix(kind, guard.namespace)
            if guard.valid_until <= draft.time or draft.changed_since(prefix, guard.position):
                raise errors.TransactionConflict("something in the range has changed", field=field)
            return
        head = draft.get(record_key(kind, guard.namespace, guard.key))
        if isinstance(head, StateHead) and not head.alive(draft.time):
            head = None
        revision = 0 if head is None else head.revision
        if revision != guard.revision:
            raise errors.TransactionConflict(f"{guard.key!r} has changed", field=field)


class Batch(_Several):
    """Operations, each on its own, in one commit."""

    __slots__ = ()

    def write(self, draft: Draft) -> messages.Results:
        """Carry out every operation; what is refused leaves nothing behind."""
        check_one_shard([each.namespace for each in self.request.operations], draft.shard_labels)
        results: list[Any] = []
        for index, operation in enumerate(self._operations):
            savepoint = draft.savepoint()
            try:
                results.append(operation.write(draft))
            except errors.RequestError as error:
                draft.restore(savepoint)
                results.append(error_reply(located(error, index)))
        return messages.Results(tuple(results))


WRITES: dict[type[Write], type[WriteOperation[Any]]] = {messages.Transaction: Transaction, messages.Batch: Batch}
