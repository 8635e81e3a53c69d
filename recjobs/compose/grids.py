"""Lists of a few users at a time as a rectangle, so that a step can go from place to place for all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recjobs.ragged import Ints

USERS = 512
"""Users of a rectangle: small enough to stay in the processor's cache."""


@dataclass(frozen=True)
class Grid:
    """The first items of B lists, W at most of each."""

    at: Ints
    """[B, W]: where each stands in the flat table; where the list is shorter, its last one again."""
    there: npt.NDArray[np.bool_]
    """[B, W]: False beyond a list's end."""

    @property
    def lengths(self) -> Ints:
        """[B]: items of each list."""
        lengths: Ints = self.there.sum(axis=1)
        return lengths

    def arrange(self, order: Ints, rank: Ints) -> None:
        """Writes into the flat `order` that the items stand in the order of `rank` [B, W], least first."""
        ranked = np.argsort(np.where(self.there, rank, np.iinfo(np.int64).max), axis=1, kind="stable")
        order[self.at[self.there]] = np.take_along_axis(self.at, ranked, axis=1)[self.there]


def grids(lengths: Ints, who: Ints, width: int) -> Iterator[Grid]:
    """Rectangles of the users `who`, whose lists have items. `lengths` are of all users, as the flat table has them."""
    starts = np.cumsum(lengths) - lengths
    for first in range(0, len(who), USERS):
        some = who[first : first + USERS]
        places = np.arange(min(width, int(lengths[some].max())))
        there = places < lengths[some, None]
        yield Grid(starts[some, None] + np.minimum(places, lengths[some, None] - 1), there)
