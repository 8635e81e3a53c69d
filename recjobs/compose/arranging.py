"""Moving items within lists: what every step that reorders does with places and scores.

A score belongs to a place, once models and boosts have spoken: an item that moves takes the score of the place it moves
to. So the scores of a list are those of its best items, and never rise, whatever rules make of the order. An item that
is put in (pinned, explored) takes the score of the item it pushes down.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.audience import ROW
from recjobs.compose.rules import count_moved
from recjobs.compose.steps import LISTS, ORIGIN, Origin, Scene, Stepped
from recjobs.ragged import Ints, places_in_runs

PLACE = "place"
FIXED = (Origin.PINNED, Origin.EXPLORED)
"""What no later step moves."""


def reordered(lists: pl.DataFrame, order: Ints) -> pl.DataFrame:
    """`lists` with row `order[i]` at place i; the scores stay where they are. `order` moves no item to another list."""
    if not len(order) or bool((order[1:] > order[:-1]).all()):
        return lists
    return lists.with_columns(lists.select(ITEM_INDEX, ORIGIN)[order]).select(LISTS.names())


def count_displaced(order: Ints) -> int:
    """How many rows `order` puts in another place."""
    return int((order != np.arange(len(order))).sum())


def put_in(lists: pl.DataFrame, wanted: pl.DataFrame, fixed: pl.DataFrame, scene: Scene) -> Stepped:
    """`lists` with each row of `fixed` at its `place`; what was fixed before keeps its own.

    `fixed` are the rows of `wanted` that may be put in; the others are counted as giving way.
    """
    free = lists.filter(~scene.among(lists, pl.Series(scene.keys(fixed))))
    after = settled(*_with_fixed(free, fixed))
    there = lists.height - free.height
    return Stepped(
        after,
        added=fixed.height - there,
        moved=count_moved(lists, after, scene),
        gave_way=wanted.height - fixed.height,
    )


def _with_fixed(lists: pl.DataFrame, fixed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What may move, and `fixed` with what was fixed in `lists` before, at the place it has."""
    held = pl.Series(is_fixed(lists), dtype=pl.Boolean)
    places = pl.Series(PLACE, places_in_runs(lists[ROW].to_numpy()))
    before = lists.with_columns(places).filter(held)
    return lists.filter(~held), pl.concat([before, fixed.select(before.columns)])


def settled(free: pl.DataFrame, fixed: pl.DataFrame) -> pl.DataFrame:
    """Lists in which each row of `fixed` stands at its `place` (from 0) and those of `free` around them, in order.

    A place beyond a list's end means its end. No two fixed items of a list have one place.
    """
    fixed = fixed.sort(ROW, PLACE)
    if not fixed.height:
        return free
    rank = places_in_runs(fixed[ROW].to_numpy())
    before = fixed[PLACE].to_numpy() - rank
    moved = free.with_columns(pl.Series(PLACE, _around(free[ROW].to_numpy(), fixed[ROW].to_numpy(), rank, before)))
    at = fixed.with_columns(pl.col(PLACE).cast(pl.Int64), pl.lit(None, pl.Float32).alias(SCORE))
    both = pl.concat([moved, at.select(moved.columns)]).sort(ROW, PLACE)
    return both.drop(PLACE).with_columns(pl.col(SCORE).backward_fill().over(ROW))


def _around(rows: npt.NDArray[np.int32], fixed_rows: npt.NDArray[np.int32], rank: Ints, before: Ints) -> Ints:
    """The place of each free row: its own rank, plus the fixed ones that stand above it.

    `before` is how many free items stand above each fixed one.
    """
    place = places_in_runs(rows)
    users = int(max(rows.max(initial=0), fixed_rows.max(initial=0))) + 1
    above = np.full((int(rank.max()) + 1, users), np.iinfo(np.int64).max)
    above[rank, fixed_rows] = before
    return place + sum((line[rows] <= place).astype(np.int64) for line in above)


def is_fixed(lists: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows no later step moves."""
    return np.isin(lists[ORIGIN].to_numpy(), [int(origin) for origin in FIXED])
