"""What the user had before and may want again: by how often, how lately, and the item's usual interval."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs.retrieve.search.sources.config import RepeatConfig
from recjobs.retrieve.search.sources.cooccurrence import Sequences
from recjobs.retrieve.search.sources.scores import SparseScores, csr
from recjobs.retrieve.search.sources.users import DAY, Users

Numbers = npt.NDArray[np.float64]


def gap_sums(events: Sequences, items: int) -> tuple[Numbers, Numbers]:
    """By item index, float64[items + 1]: sums of log days between a user's days with the item, and their number."""
    day = events.time // DAY
    order = np.lexsort((day, events.item, events.user))
    user, item, day = events.user[order], events.item[order], day[order]
    again = (user[1:] == user[:-1]) & (item[1:] == item[:-1]) & (day[1:] > day[:-1])
    gap = np.log((day[1:] - day[:-1])[again])
    log_gaps: Numbers = np.bincount(item[1:][again], gap, minlength=items + 1).astype(np.float64)
    return log_gaps, np.bincount(item[1:][again], minlength=items + 1).astype(np.float64)


def intervals(log_gaps: Numbers, repeats: Numbers, settings: RepeatConfig) -> Numbers:
    """Each item's usual interval in days, float64[items + 1]: the geometric mean, drawn towards that of all items."""
    usual = log_gaps.sum() / repeats.sum() if repeats.sum() else np.log(settings.interval_days)
    interval: Numbers = np.exp((log_gaps + settings.shrinkage * usual) / (repeats + settings.shrinkage))
    return interval


class Repeat:
    """Scores the items the user had: Σ event weight × log(1 + count), times how due the item is."""

    def __init__(
        self,
        interval: Numbers,
        position: npt.NDArray[np.int64],
        size: int,
        weights: Numbers,
        now: int,
        settings: RepeatConfig,
    ) -> None:
        """`position` int64[items + 1] in the searched database, -1 for what is not in it; `size` its size."""
        self._interval, self._position, self._size = interval, position, size
        self._weights, self._now, self._settings = weights, now, settings

    def block(self, users: Users) -> SparseScores:
        """The scores of `users`."""
        position = self._position[users.item]
        says = self._weights[users.kind] * np.log1p(users.count) * self._due(users.item, users.last)
        keep = (position >= 0) & (says > 0)
        matrix = csr(says[keep], users.rows()[keep], position[keep], (len(users), self._size))
        return SparseScores(matrix)

    def _due(self, item: npt.NDArray[Any], last: npt.NDArray[np.int64]) -> Numbers:
        """Halves every `half_life_days`; without, rises from `early` to 1 until the interval is over, then halves
        every `half_life` intervals."""
        days = np.maximum(self._now - last, 0) / DAY
        if self._settings.half_life_days is not None:
            fading: Numbers = 0.5 ** (days / self._settings.half_life_days)
            return fading
        passed = days / self._interval[item]
        rising = self._settings.early + (1 - self._settings.early) * np.minimum(passed, 1)
        due: Numbers = rising * 0.5 ** (np.maximum(passed - 1, 0) / self._settings.half_life)
        return due
