"""The store's operations as steps: an item is a state record, its namespace the record's.

A record holds {"value": the item's}, with "ttl_s" its time to live and "vectors" the number of vectors of its texts,
where it has any; `nearest` says where they lie.
Do not change: stored items are found and read by this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    validate_op_namespace,
)

from recollectd.adapters.langgraph import nearest
from recollectd.adapters.langgraph.filters import matches, namespace_matches
from recollectd.adapters.langgraph.names import Namespace
from recollectd.adapters.langgraph.putting import Puts
from recollectd.adapters.langgraph.steps import Ask, Calls, Listing, Steps
from recollectd.adapters.langgraph.vectors import Embedding
from recollectd.client.results import Record
from recollectd.protocol import errors, limits

_CALLS_AT_ONCE: Final = 64

Found: TypeAlias = tuple[Namespace, Record]


class Seen:
    """What one batch has read, so that equal searches in it are read once, and see the same."""

    def __init__(self) -> None:
        self.namespaces: dict[Namespace, list[Namespace]] = {}
        self.records: dict[tuple[Namespace, bool], list[Found]] = {}
        self.occupied: dict[Namespace, bool] = {}


class Items:
    """The items below one namespace; refresh: whether reads begin the time to live of what they return anew."""

    def __init__(self, base: Namespace, *, refresh: bool) -> None:
        self.base = (*base, "store")
        self._refresh = refresh
        self._puts = Puts(self.base)

    def check(self, ops: Iterable[Op]) -> list[Op]:
        """Return the operations. Raises InvalidNamespaceError, ValueError for a key, TypeError for no operation."""
        checked = list(ops)
        for op in checked:
            if not isinstance(op, (GetOp, PutOp, SearchOp, ListNamespacesOp)):
                raise TypeError(f"not an operation of a store: {op!r}")
            validate_op_namespace(op)
            if isinstance(op, (GetOp, PutOp)):
                self._check_namespace(op.namespace)
                _check_size(str(op.key), "key", limits.KEY_BYTES_MAX, ValueError)
            elif isinstance(op, SearchOp):
                self._check_namespace(op.namespace_prefix)
        return checked

    def _check_namespace(self, namespace: tuple[str, ...]) -> None:
        most = limits.NAMESPACE_LABELS_MAX - len(self.base)
        if len(namespace) > most:
            raise InvalidNamespaceError(f"the namespace has {len(namespace)} labels; at most {most} are allowed")
        for label in namespace:
            _check_size(label, "namespace label", limits.LABEL_BYTES_MAX, InvalidNamespaceError)

    def batch(self, ops: Sequence[Op], embedding: Embedding) -> Steps[list[Result]]:
        """Carry out operations: what is read is as it was before the batch, what is put is one transaction."""
        results: list[Result] = [None] * len(ops)
        yield from self._get(ops, results)
        seen = Seen()
        for index, op in enumerate(ops):
            if isinstance(op, SearchOp):
                results[index] = yield from self._search(op, embedding, seen)
            elif isinstance(op, ListNamespacesOp):
                results[index] = yield from self._list_namespaces(op, seen)
        yield from self._puts.put([op for op in ops if isinstance(op, PutOp)], embedding)
        return results

    def _get(self, ops: Sequence[Op], results: list[Result]) -> Steps[None]:
        gets = [(index, op) for index, op in enumerate(ops) if isinstance(op, GetOp)]
        if not gets:
            return
        asked = [partial(_get_record, namespace=(*self.base, *op.namespace), key=str(op.key)) for _, op in gets]
        records = yield Calls(asked)
        read: list[Found] = []
        for (index, op), record in zip(gets, records, strict=True):
            if record is not None:
                results[index] = _item(op.namespace, record)
                if op.refresh_ttl:
                    read.append((op.namespace, record))
        yield from self._touch(read)

    def _search(self, op: SearchOp, embedding: Embedding, seen: Seen) -> Steps[list[SearchItem]]:
        vector = embedding.asked(op.query)
        first, last = max(op.offset, 0), max(op.offset, 0) + max(op.limit, 0)
        scores: list[float | None]
        if vector is None:
            found = yield from self._below(tuple(op.namespace_prefix), bool(op.filter), seen)
            if op.filter:
                found = [each for each in found if matches(each[1].value["value"], op.filter)]
            page = sorted(found, key=lambda each: each[1].updated_at, reverse=True)[first:last]
            if not op.filter:
                page = yield from self._with_values(page)
            scores = [None] * len(page)
        else:
            ranked = yield from self._nearest(op, vector, last, seen)
            page = [each for each, _ in ranked[first:last]]
            scores = [score for _, score in ranked[first:last]]
        if op.refresh_ttl:
            yield from self._touch(page)
        return [_search_item(ns, record, score) for (ns, record), score in zip(page, scores, strict=True)]

    def _nearest(self, op: SearchOp, vector: bytes, wanted: int, seen: Seen) -> Steps[list[tuple[Found, float]]]:
        """Return the items nearest to a vector that match the filter, the nearest first."""
        namespaces = yield from self._namespaces(tuple(op.namespace_prefix), seen)
        ranked: list[tuple[Found, float]] = []
        for limit in nearest.helpings(wanted):
            try:
                near = yield from nearest.nearby(self.base, namespaces, vector, limit)
            except errors.InvalidArgument as error:
                raise ValueError(f"the query cannot be searched for: {error}") from error
            whole = near.floor is None or limit == nearest.HITS_MAX
            # What is below the floor may be behind something that was not found.
            sure = [each for each in near.found if whole or near.floor is None or each.score >= near.floor]
            ranked = yield from self._present(op, sure, wanted)
            if whole or len(ranked) >= wanted:
                break
        return ranked

    def _present(self, op: SearchOp, near: Sequence[nearest.Near], wanted: int) -> Steps[list[tuple[Found, float]]]:
        """Return the items that are there and match, each with its best score; as few as can be are read."""
        ranked: dict[nearest.Place, tuple[Found, float]] = {}
        for start in range(0, len(near), _CALLS_AT_ONCE):
            some = near[start : start + _CALLS_AT_ONCE]
            places = list(dict.fromkeys(each.place for each in some))
            asked = [partial(_get_record, namespace=(*self.base, *ns), key=key) for ns, key in places]
            records = dict(zip(places, (yield Calls(asked)), strict=True))
            for place, number, score in some:
                record: Record | None = records[place]
                if record is None or number >= nearest.count_of(record):
                    continue
                if matches(record.value["value"], op.filter):
                    ranked.setdefault(place, ((place.namespace, record), score))
            if len(ranked) >= wanted:
                break
        return list(ranked.values())

    def _namespaces(self, prefix: Namespace, seen: Seen) -> Steps[list[Namespace]]:
        if prefix not in seen.namespaces:
            (found,) = yield Listing([lambda face: face.namespaces((*self.base, *prefix))])
            seen.namespaces[prefix] = [namespace[len(self.base) :] for namespace in found]
        return seen.namespaces[prefix]

    def _below(self, prefix: Namespace, values: bool, seen: Seen) -> Steps[list[Found]]:
        """Return the records of all namespaces that begin with these labels."""
        if (prefix, values) in seen.records:
            return seen.records[prefix, values]
        found: list[Found] = []
        wanted = [(labels, b"") for labels in (yield from self._namespaces(prefix, seen))]
        while wanted:
            some, wanted = wanted[:_CALLS_AT_ONCE], wanted[_CALLS_AT_ONCE:]
            asked = [
                partial(_scan, namespace=(*self.base, *labels), cursor=cursor, values=values) for labels, cursor in some
            ]
            pages = yield Calls(asked)
            for (labels, _), page in zip(some, pages, strict=True):
                found += [(labels, record) for record in page.records]
                if page.cursor:
                    wanted.append((labels, page.cursor))
        seen.records[prefix, values] = found
        return found

    def _with_values(self, page: Sequence[Found]) -> Steps[list[Found]]:
        asked = [partial(_get_record, namespace=(*self.base, *ns), key=record.key) for ns, record in page]
        records = yield Calls(asked)
        return [(ns, record) for (ns, _), record in zip(page, records, strict=True) if record is not None]

    def _touch(self, read: Sequence[Found]) -> Steps[None]:
        """Begin the time to live of these items anew."""
        ends = [(ns, record) for ns, record in read if "ttl_s" in record.value]
        if not self._refresh or not ends:
            return
        asked: list[Ask] = [
            partial(_touch, namespace=(*self.base, *ns), key=record.key, ttl_s=record.value["ttl_s"])
            for ns, record in ends
        ]
        for namespace, record in ends:
            asked += nearest.touches((*self.base, *namespace), record)
        yield Calls(asked, tolerated=(errors.NotFound,))  # it has ended since it was read

    def _list_namespaces(self, op: ListNamespacesOp, seen: Seen) -> Steps[list[tuple[str, ...]]]:
        labels = yield from self._namespaces((), seen)
        matching = [each for each in labels if each and namespace_matches(each, op.match_conditions)]
        occupied = yield from self._occupied(matching, seen)
        found = {each[: op.max_depth] for each in matching if each in occupied}
        return sorted(found)[op.offset : op.offset + op.limit]

    def _occupied(self, candidates: Sequence[Namespace], seen: Seen) -> Steps[set[Namespace]]:
        """Return those that have an item; the daemon also lists namespaces whose records are all deleted."""
        wanted = [(labels, b"") for labels in candidates if labels not in seen.occupied]
        while wanted:
            some, wanted = wanted[:_CALLS_AT_ONCE], wanted[_CALLS_AT_ONCE:]
            pages = yield Calls([partial(_any, namespace=(*self.base, *ns), cursor=cursor) for ns, cursor in some])
            for (labels, _), page in zip(some, pages, strict=True):
                if page.records or not page.cursor:
                    seen.occupied[labels] = bool(page.records)
                else:
                    wanted.append((labels, page.cursor))
        return {labels for labels in candidates if seen.occupied[labels]}


def _check_size(text: str, what: str, most: int, error: type[ValueError]) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise error(f"a {what} must be valid Unicode text: {text[:80]!r}") from None
    if not 1 <= size <= most:
        raise error(f"a {what} has 1 to {most} bytes of UTF-8, not {size}: {text[:80]!r}")


def _times(record: Record) -> Mapping[str, Any]:
    return {"created_at": record.created_at, "updated_at": record.updated_at}


def _item(namespace: tuple[str, ...], record: Record) -> Item:
    return Item(value=record.value["value"], key=record.key, namespace=namespace, **_times(record))


def _search_item(namespace: tuple[str, ...], record: Record, score: float | None) -> SearchItem:
    times = _times(record)
    return SearchItem(namespace, record.key, record.value["value"], times["created_at"], times["updated_at"], score)


def _get_record(face: Any, *, namespace: Namespace, key: str) -> Any:
    return face.with_namespace(*namespace).state.get(key)


def _scan(face: Any, *, namespace: Namespace, cursor: bytes, values: bool) -> Any:
    return face.with_namespace(*namespace).state.scan_page(cursor=cursor, values=values, limit=1_000)


def _any(face: Any, *, namespace: Namespace, cursor: bytes) -> Any:
    return face.with_namespace(*namespace).state.scan_page(cursor=cursor, values=False, limit=1)


def _touch(face: Any, *, namespace: Namespace, key: str, ttl_s: float) -> Any:
    return face.with_namespace(*namespace).state.touch(key, ttl_s)
