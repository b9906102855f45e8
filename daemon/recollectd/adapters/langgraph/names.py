"""Where a thread's records lie: one namespace for each thread, so that threads neither see nor hold up each other.

    (*namespace, "threads", <thread>)   state   thread              the thread's id; its version counts maintenance
                                        state   c/<ns>/<id>         a checkpoint
                                        state   w/<ns>/<id>/<task>  what a task wrote
                                        log     v/<ns>/<channel>    pieces of the channel's values
    (*namespace, "runs")                state   <run>/<thread>      that the run wrote to the thread

Do not change: stored threads are found by these names. Ids may be any text: what is too long for a name is replaced by
its digest, and "/" is escaped where something follows.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, TypeAlias

from recollectd.protocol import limits

Namespace: TypeAlias = tuple[str, ...]

THREAD: Final = "thread"
_TOKEN_BYTES_MAX: Final = 120
_ID_BYTES_MAX: Final = limits.KEY_BYTES_MAX - 2 * _TOKEN_BYTES_MAX
assert _TOKEN_BYTES_MAX < limits.LABEL_BYTES_MAX


def token(text: str) -> str:
    """Return a short name for any text: no two have the same, and none contains "/". Raises ValueError."""
    escaped = "=" + text.replace("%", "%25").replace("/", "%2F")
    if len(_utf8(escaped)) <= _TOKEN_BYTES_MAX:
        return escaped
    return "#" + blake2b(_utf8(text), digest_size=32).hexdigest()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"an id must be valid Unicode text: {text[:80]!r}") from error


def thread_namespace(base: Namespace, label: str) -> Namespace:
    """Return the namespace of the thread with this token."""
    return (*base, "threads", label)


def runs_namespace(base: Namespace) -> Namespace:
    """Return the namespace that says which runs wrote to which threads."""
    return (*base, "runs")


def run_key(run_id: str, thread: str = "") -> str:
    """Return the key of a run and a thread's token; without one, their common beginning."""
    return f"{token(run_id)}/{thread}"


def checkpoint_key(checkpoint_ns: str, checkpoint_id: str = "") -> str:
    """Return a checkpoint's key; without an id, the beginning of all in this namespace, in the order of their ids."""
    if len(_utf8(checkpoint_id)) > _ID_BYTES_MAX:
        raise ValueError(f"a checkpoint id has at most {_ID_BYTES_MAX} bytes of UTF-8")
    return f"c/{token(checkpoint_ns)}/{checkpoint_id}"


def split_checkpoint_key(key: str) -> tuple[str, str]:
    """Return the namespace's token and the checkpoint id."""
    _, ns_token, checkpoint_id = key.split("/", 2)
    return ns_token, checkpoint_id


def writes_prefix(checkpoint_key_: str) -> str:
    """Return how the keys of the writes of a checkpoint begin."""
    ns_token, checkpoint_id = split_checkpoint_key(checkpoint_key_)
    return f"w/{ns_token}/{token(checkpoint_id)}/"


def values_log(ns_token: str, channel: str) -> str:
    """Return the id of the log with the pieces of a channel's values."""
    return f"v/{ns_token}/{token(channel)}"
