"""What the journal's events mean for vectors: the changes that `VectorView.apply` takes."""

from __future__ import annotations

from typing import NamedTuple

from recollectd.storage.vectors.spec import Spec, Vector


class Create(NamedTuple):
    """A space comes to be. One that is there already stays as it is."""

    scope: bytes
    space: str
    spec: Spec


class Drop(NamedTuple):
    """A space goes, with all its vectors."""

    scope: bytes
    space: str


class Put(NamedTuple):
    """A record's vector, new or instead of the one it had. Checked by `check_vector` before it was journaled.

    record_id: not empty. vector: f32 as in `check_vector`.
    """

    scope: bytes
    space: str
    record_id: bytes
    vector: Vector


class Delete(NamedTuple):
    """A record has no vector any more. One that has none is no error."""

    scope: bytes
    space: str
    record_id: bytes


Change = Create | Drop | Put | Delete
