"""Confidence intervals of a mean difference between two lists, from sums that add up over shards.

Poisson bootstrap: each user counts Poisson(1) times in each resampling (Chamandy, Muralidharan, Najmi and Naidu 2012,
"Estimating uncertainty for massive data streams"), so that no shard needs to know of another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recjobs.evaluate.measures import Floats

_BLOCK = 4096


@dataclass(frozen=True)
class Resampled:
    """Sums over resampled users. Adds up."""

    sums: Floats
    """[resamplings, columns]."""
    users: Floats
    """[resamplings]: how many users, counted as often as they were drawn."""

    def __add__(self, other: Resampled) -> Resampled:
        return Resampled(self.sums + other.sums, self.users + other.users)

    def interval(self, confidence: float) -> tuple[Floats, Floats]:
        """The lower and upper end of each column's mean; resamplings that drew nobody do not count."""
        drawn = self.users > 0
        means = self.sums[drawn] / self.users[drawn, None]
        tail = (1 - confidence) / 2
        return np.quantile(means, tail, axis=0), np.quantile(means, 1 - tail, axis=0)


def resample(values: Floats, resamplings: int, seed: tuple[int, ...]) -> Resampled:
    """Sums of the rows of `values` [users, columns], each drawn Poisson(1) times in each resampling."""
    random = np.random.default_rng(seed)
    total = Resampled(np.zeros((resamplings, values.shape[1])), np.zeros(resamplings))
    for start in range(0, len(values), _BLOCK):
        part = values[start : start + _BLOCK]
        drawn = random.poisson(1.0, (resamplings, len(part))).astype(np.float64)
        total += Resampled(drawn @ part, drawn.sum(axis=1))
    return total
