"""How far the graphs of one space are searched, so that they find what they should and no further.

A search that is asked again exactly (recall.py) tells more than what it found itself: with the truth at hand it is
cheap to see what any other effort would have found. So each sample says for a ladder of efforts how much of the truth
they find. The mean of samples is uncertain, and what is wanted is a lower bound of the recall: an effort is enough if
the mean less so many standard errors reaches it. It rises when that is in doubt at 95 %, and falls when a lower effort
is enough at 99 %, a rung a sample. So chance neither moves it to and fro nor lets it end below.

Samples are of graphs as they were. Once a merge has put others in their place, or rows have died, those of before
stand for them until there are enough new ones, which are taken soon; and the effort does not fall on their word.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from recollectd.protocol.limits import VECTOR_EFFORT_MAX

LEAST: Final = 16
RUNGS_PER_DOUBLING: Final = 4
LADDER: Final = tuple(
    round(LEAST * 2 ** (rung / RUNGS_PER_DOUBLING))
    for rung in range(RUNGS_PER_DOUBLING * (VECTOR_EFFORT_MAX // LEAST).bit_length() - RUNGS_PER_DOUBLING + 1)
)
assert LADDER[-1] == VECTOR_EFFORT_MAX

SAMPLES_MAX: Final = 256
# With fewer nothing is concluded.
SAMPLES_MIN: Final = 32
# Until there are so many of the graphs as they are now, samples are so many times as frequent as later: while they are
# few, what chance might hide costs more than they do, which is at 64 about as much as the searches, at 16 a third.
HASTES: Final = ((64, 64), (SAMPLES_MAX, 16))
# Standard errors below the mean: the one-sided quantiles of the normal distribution at 95 % and 99 %.
_DOUBT: Final = 1.645
_CERTAINTY: Final = 2.326
# A few samples that all found everything do not prove that nothing is missed: samples are taken to differ at least as
# much as if each of so many nearest were missed with the chance that is allowed.
_NEAREST: Final = 10


class Effort:
    """Of one space. first: before anything is known; recall: what is wanted, 0: it stays at first.

    generation: of the graphs. Any thread may call.
    """

    def __init__(self, first: int, recall: float) -> None:
        self.now = first
        self.generation = 0
        self._recall = recall
        self._deviation_min = math.sqrt(recall * (1 - recall) / _NEAREST)
        self._lock = threading.Lock()
        self._samples = np.empty((0, len(LADDER)), np.float32)
        self._count = 0  # of samples of the graphs as they are now: the last ones

    @property
    def learns(self) -> bool:
        """Whether samples change anything."""
        return self._recall > 0

    @property
    def haste(self) -> int:
        """How many times as frequent samples should be as they are of graphs that are known."""
        return next((haste for count, haste in HASTES if self.learns and self._count < count), 1)

    def changed(self) -> None:
        """The space has other graphs from now on."""
        with self._lock:
            self.generation += 1
            self._count = 0

    def learn(self, shares: Sequence[float], generation: int) -> None:
        """Take a sample: the share of the truth that each effort of the ladder, from the least on, found.

        generation: of the graphs that were searched; one of earlier graphs is of no use any more.
        """
        assert len(shares) == len(LADDER)
        with self._lock:
            if generation != self.generation:
                return
            self._samples = np.concatenate([self._samples, np.array([shares], np.float32)])[-SAMPLES_MAX:]
            self._count = min(self._count + 1, SAMPLES_MAX)
            if self.learns and len(self._samples) >= SAMPLES_MIN:
                self._move()

    def _move(self) -> None:
        known = self._count >= SAMPLES_MIN
        samples = self._samples[-self._count :] if known else self._samples
        needed = self._least(samples, _DOUBT)
        if needed > self.now:
            self.now = next(effort for effort in LADDER if effort > self.now)
        elif known and (enough := self._least(samples, _CERTAINTY)) < self.now:
            self.now = max(effort for effort in LADDER if enough <= effort < self.now)

    def _least(self, samples: npt.NDArray[np.float32], errors: float) -> int:
        """Return the least effort whose mean recall, less so many standard errors, is the one that is wanted."""
        deviations = np.maximum(samples.std(axis=0, ddof=1), self._deviation_min)
        bounds = samples.mean(axis=0) - errors * deviations / math.sqrt(len(samples))
        enough = np.flatnonzero(bounds >= self._recall)
        return LADDER[int(enough[0])] if len(enough) else LADDER[-1]
