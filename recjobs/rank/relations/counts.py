"""How often items stand together in users' sequences: the sums of one shard, and what they say once added up.

A user's events are paired with the next `reach` ones; events at one time are one moment. For a before b, d moments
apart, `near` counts 1/d for b given a and half of it for a given b; `next` counts 1 for b given a where d ≤ 1;
`together` counts 1 both ways. Within a moment (d = 0) all is whole, both ways.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs.ragged import places_in_runs

Ints = npt.NDArray[np.int64]

ROW, COLUMN, NEAR, NEXT, TOGETHER = "row", "column", "near", "next", "together"
KINDS = (NEAR, NEXT, TOGETHER)
BACKWARD = 0.5
_FROM, _TO = 0.5, 0.2
"""Powers by which `near` is divided by the events of the item that was had, and of the one it speaks for."""


def pair_sums(user: Ints, item: Ints, time: Ints, reach: int) -> pl.DataFrame:
    """Sums by (row: the item that was had, column: the item it speaks for), sorted by both, float64.

    Events stand user by user, oldest first; items below 1 are unknown and pair with nothing.
    """
    known = item > 0
    user, item, time = user[known], item[known], time[known]
    moment = np.r_[0, np.cumsum((user[1:] != user[:-1]) | (time[1:] != time[:-1]))]
    pairs = [_both_ways(*step) for step in _steps(user, item, moment, reach)]
    empty = pl.DataFrame(schema={ROW: pl.Int64, COLUMN: pl.Int64, **dict.fromkeys(KINDS, pl.Float64)})
    # A user's sums of thirds and fifths depend on their order: that of the sorted keys is always the same.
    return (
        pl.concat([empty, *pairs])
        .group_by(ROW, COLUMN, maintain_order=True)
        .agg(pl.col(*KINDS).sum())
        .sort(ROW, COLUMN)
    )


def _steps(user: Ints, item: Ints, moment: Ints, reach: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Pairs of different items of a user by how many events apart: earlier, later, moments between."""
    for step in range(1, min(reach, len(user) - 1) + 1):
        first = np.flatnonzero(user[step:] == user[:-step])
        if not len(first):
            return
        first = first[item[first] != item[first + step]]
        yield item[first], item[first + step], moment[first + step] - moment[first]


def _both_ways(earlier: Ints, later: Ints, apart: Ints) -> pl.DataFrame:
    weight, ones, same = 1.0 / np.maximum(apart, 1), np.ones(len(apart)), apart == 0
    forward = {ROW: earlier, COLUMN: later, NEAR: weight, NEXT: (apart <= 1) * 1.0, TOGETHER: ones}
    back = {
        ROW: later,
        COLUMN: earlier,
        NEAR: np.where(same, weight, BACKWARD * weight),
        NEXT: same * 1.0,
        TOGETHER: ones,
    }
    return pl.concat([pl.DataFrame(forward), pl.DataFrame(back)])


def related(sums: pl.DataFrame, events: npt.NDArray[np.float64], shrinkage: float, neighbours: int) -> pl.DataFrame:
    """Rates in place of sums, float32, of each row's `neighbours` nearest; by row, nearest first, ties by column.

    `events` float64[items + 1] counts each item's. With n these and `shrinkage` more: `near` is divided by
    n(row)^0.5 n(column)^0.2, `next` by n(row), the share of times it came next,
    and `together` by the root of both, a cosine. So they mean the same on nights with more and fewer events.
    """
    known = events + shrinkage
    row, column = known[sums[ROW].to_numpy()], known[sums[COLUMN].to_numpy()]
    rates = sums.with_columns(
        pl.col(NEAR) / pl.Series(row**_FROM * column**_TO),
        pl.col(NEXT) / pl.Series(row),
        pl.col(TOGETHER) / pl.Series(np.sqrt(row * column)),
    ).with_columns(pl.col(*KINDS).cast(pl.Float32))
    ordered = rates.sort(ROW, NEAR, COLUMN, descending=[False, True, False])
    return ordered.filter(pl.Series(places_in_runs(ordered[ROW].to_numpy()) < neighbours, dtype=pl.Boolean))
