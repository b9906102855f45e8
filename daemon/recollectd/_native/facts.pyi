"""Facts by key: what the sequencer knows of rows, in applied state and with the commits on their way."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

from typing_extensions import disjoint_base

@disjoint_base
class Maker:
    """A fact that is made only for who asks; in native code alone."""

@final
class Entry:
    """A row; in native code alone."""

    def __new__(cls, key: bytes) -> Entry: ...

@final
class FactCache:
    """Facts by key, the last used of those in applied state. A fact is a decoded row, or None for a row known to be
    absent.
    """

    @property
    def pending_count(self) -> int:
        """How many rows are sequenced and not yet applied."""
    @property
    def hits(self) -> int:
        """How many writes found all the rows they need."""
    @property
    def misses(self) -> int: ...
    @property
    def compact(self) -> Callable[[Any], Any] | None:
        """What makes a smaller form of a row that is learnt, if there is one; None: they are kept as they are."""
    @compact.setter
    def compact(self, compact: Callable[[Any], Any] | None, /) -> None: ...
    def __new__(cls, count_max: int) -> FactCache: ...
    def __len__(self) -> int:
        """Return how many rows of applied state are at hand."""
    def knows(self, key: bytes) -> bool:
        """Return whether the row's state is at hand."""
    def get(self, key: bytes) -> Any:
        """Return the row at hand; raises KeyError for one that is not."""
    def gather(self, keys: Sequence[bytes]) -> dict[bytes, Any] | None:
        """Return the rows of all keys, or None when one is not at hand. They count as used."""
    def pending(self, key: bytes, fact: object, seq: int) -> None:
        """Say what a row will be once the commit `seq` is applied."""
    def applied(self, keys: Iterable[bytes], seq: int) -> None:
        """The commit `seq` is applied, and these rows with it, but for those that later commits change."""
    def pending_seq(self, keys: Sequence[bytes]) -> int:
        """Return the last commit on its way that changes one of the rows; 0 if there is none."""
    def drop_pending(self) -> None:
        """Take back everything sequenced and not applied.

        What was known of those rows goes too: it may be older than commits that were applied while later ones,
        taken back now, hid them.
        """
    def learn(self, facts: dict[bytes, Any]) -> None:
        """Take up rows fetched from applied state. What is already known is newer: it stays."""
    def pin(self, keys: Sequence[bytes]) -> None:
        """Keep rows, once known, until they are unpinned: a write waits for them."""
    def unpin(self, keys: Sequence[bytes]) -> None:
        """Undo one pin of each."""
