"""At most so many items of a group among so many places, for all users at once.

From the first place on, each goes to the best item left that breaks no limit. Where every item left breaks one, the
best of them is taken and counted: a list is full before it is diverse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs.compose.grids import Grid, grids
from recjobs.compose.rulebook import Limit
from recjobs.ragged import Ints, places, rows_of

Groups = npt.NDArray[np.int32]


def spread(items: npt.NDArray[np.int32], lengths: Ints, limits: Sequence[Limit]) -> tuple[Ints, int]:
    """The order in which the lists keep `limits`, as flat positions, and how many places could not.

    `items` are the lists one after the other, `lengths` how long each is. A list that keeps them stays as it is; items
    that are passed over keep their order, below.
    """
    order = np.arange(len(items))
    broken = np.zeros(len(lengths), np.bool_)
    for limit in limits:
        broken |= _breaks(items, lengths, limit)
    gave_way = 0
    for grid in grids(lengths, np.flatnonzero(broken), int(lengths.max(initial=0))):
        rank, forced = _chosen(items, grid, limits)
        grid.arrange(order, rank)
        gave_way += forced
    return order, gave_way


def _breaks(items: npt.NDArray[np.int32], lengths: Ints, limit: Limit) -> npt.NDArray[np.bool_]:
    place, group = places(lengths), limit.groups[items]
    looked_at = (place < limit.places) & (group > 0)
    found = pl.DataFrame(
        {"row": rows_of(lengths)[looked_at], "window": place[looked_at] // limit.window, "group": group[looked_at]}
    )
    over = found.group_by("row", "window", "group").len().filter(pl.col("len") > limit.at_most)
    broken = np.zeros(len(lengths), np.bool_)
    broken[over["row"].to_numpy()] = True
    return broken


def _chosen(items: npt.NDArray[np.int32], grid: Grid, limits: Sequence[Limit]) -> tuple[Ints, int]:
    """The rank of each item of the grid, and how many places went to an item that breaks a limit."""
    groups = [np.where(grid.there, limit.groups[items[grid.at]], 0) for limit in limits]
    counts = [np.zeros(grid.at.shape, np.int16) for _ in limits]
    users, lengths, width = np.arange(len(grid.at)), grid.lengths, grid.at.shape[1]
    rank = np.broadcast_to(np.arange(width, 2 * width), grid.at.shape).copy()
    left, forced = grid.there.copy(), 0
    for place in range(min(max(limit.places for limit in limits), width)):
        fits = left.copy()
        for limit, count in zip(limits, counts, strict=True):
            if place < limit.places:
                count *= place % limit.window != 0
                fits &= count < limit.at_most
        pick, some = fits.argmax(axis=1), lengths > place
        fitting = fits[users, pick]
        pick = np.where(fitting, pick, left.argmax(axis=1))
        forced += int((some & ~fitting).sum())
        rank[users[some], pick[some]] = place
        left[users[some], pick[some]] = False
        for group, count in zip(groups, counts, strict=True):
            mine = np.where(some, group[users, pick], 0)
            count += (group == mine[:, None]) & (mine > 0)[:, None]
    return rank, forced
