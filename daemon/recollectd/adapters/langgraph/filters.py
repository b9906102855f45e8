"""Which items of the store a filter means, and which namespaces a match condition."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from langgraph.store.base import MatchCondition

_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def matches(value: Mapping[str, Any], filter: Mapping[str, Any] | None) -> bool:
    """Tell whether a value has what a filter demands of its fields. Raises ValueError for an unknown operator.

    A field is named by its key or by a dotted path. It must equal what is demanded, or fulfil all of `$eq`, `$ne`,
    `$gt`, `$gte`, `$lt` and `$lte` that are given; numbers and texts are compared with their like only, and a field
    that is not there is None.
    """
    return all(_fulfils(field(value, name), demanded) for name, demanded in (filter or {}).items())


def field(value: Mapping[str, Any], name: str) -> Any:
    """Return a field by its key or, where there is none of that name, by a dotted path; None if it is not there."""
    if name in value or "." not in name:
        return value.get(name)
    found: Any = value
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _fulfils(found: Any, demanded: Any) -> bool:
    if isinstance(demanded, Mapping):
        if any(str(name).startswith("$") for name in demanded):
            return all(_compare(found, name, other) for name, other in demanded.items())
        return isinstance(found, Mapping) and all(_fulfils(found.get(name), other) for name, other in demanded.items())
    return bool(_plain(found) == _plain(demanded))


def _compare(found: Any, name: str, other: Any) -> bool:
    if name == "$eq":
        return bool(_plain(found) == _plain(other))
    if name == "$ne":
        return bool(_plain(found) != _plain(other))
    if name not in _COMPARISONS:
        raise ValueError(f"a filter's operators are $eq, $ne, {', '.join(_COMPARISONS)}, not {name!r}")
    numbers = isinstance(found, (int, float)) and isinstance(other, (int, float))
    texts = isinstance(found, str) and isinstance(other, str)
    return (numbers or texts) and _COMPARISONS[name](found, other)


def _plain(value: Any) -> Any:
    """Return a value as it comes back from the store, where tuples are lists."""
    return list(value) if isinstance(value, tuple) else value


def namespace_matches(namespace: tuple[str, ...], conditions: Iterable[MatchCondition] | None) -> bool:
    """Tell whether a namespace fulfils all conditions. Raises ValueError for an unknown one."""
    return all(_matches(namespace, condition) for condition in conditions or ())


def _matches(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if condition.match_type == "prefix":
        labels: Sequence[str] = namespace[: len(path)]
    elif condition.match_type == "suffix":
        labels = namespace[-len(path) :] if path else ()
    else:
        raise ValueError(f"a namespace is matched by 'prefix' or 'suffix', not {condition.match_type!r}")
    return len(labels) == len(path) and all(want in ("*", label) for want, label in zip(path, labels, strict=True))
