"""How far the graphs of one space are searched, so that they find what they should and no further.

A search that is asked again exactly (recall.py) tells more than what it found itself: with the truth at hand it is
cheap to see what any other effort would have found. So each sample says for a ladder of efforts how much of the truth
they find, and the least is chosen whose mean, less its standard error, is the recall that is wanted: a rung a sample.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from recollectd.protocol.limits import VECTOR_EFFORT_MAX

LEAST: Final = 16
RUNGS_PER_DOUBLING: Final = 4
LADDER: Final = tuple(
    round(LEAST * 2 ** (rung / RUNGS_PER_DOUBLING))
    for rung in range(RUNGS_PER_DOUBLING * (VECTOR_EFFORT_MAX // LEAST).bit_length() - RUNGS_PER_DOUBLING + 1)
)
assert LADDER[-1] == VECTOR_EFFORT_MAX

SAMPLES_MAX: Final = 256
# With fewer nothing is concluded. After each merge so many are taken soon.
SAMPLES_MIN: Final = 32


class Effort:
    """Of one space. first: before anything is known; recall: what is wanted, 0: it stays at first.

    Read by any thread, told by one.
    """

    def __init__(self, first: int, recall: float) -> None:
        self.now = first
        self._recall = recall
        self._samples: deque[list[float]] = deque(maxlen=SAMPLES_MAX)
        self._since_change = 0

    @property
    def learns(self) -> bool:
        """Whether samples change anything."""
        return self._recall > 0

    @property
    def young(self) -> bool:
        """Whether too little is known of the graphs as they are now."""
        return self.learns and self._since_change < SAMPLES_MIN

    def changed(self) -> None:
        """The space has other graphs from now on."""
        self._since_change = 0

    def learn(self, shares: Sequence[float]) -> None:
        """Take a sample: the share of the truth that each effort of the ladder, from the least on, found."""
        assert len(shares) == len(LADDER)
        self._samples.append(list(shares))
        self._since_change += 1
        if self.learns and len(self._samples) >= SAMPLES_MIN:
            self.now = _towards(self.now, self._least())

    def _least(self) -> int:
        count = len(self._samples)
        for effort, shares in zip(LADDER, zip(*self._samples, strict=True), strict=True):
            mean = sum(shares) / count
            error = math.sqrt(sum((share - mean) ** 2 for share in shares) / (count - 1) / count)
            if mean - error >= self._recall:
                return effort
        return LADDER[-1]


def _towards(now: int, wanted: int) -> int:
    """Return the next rung on the way from one effort to another."""
    if wanted > now:
        return next(effort for effort in LADDER if effort > now)
    return max((effort for effort in LADDER if wanted <= effort < now), default=wanted if wanted == now else now)
