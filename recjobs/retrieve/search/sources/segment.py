"""What is popular in the user's segment, falling to what is popular with everybody."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns
from recjobs.retrieve.search.sources.config import SegmentConfig
from recjobs.retrieve.search.sources.cooccurrence import Sequences
from recjobs.retrieve.search.sources.scores import Floats, TableScores, top_of
from recjobs.retrieve.search.sources.users import ALL, DAY, Users

WEIGHT = "weight"


def segment_demand(
    events: Sequences, weights: npt.NDArray[np.float64], segment: pl.Series, end: int, half_life_days: float
) -> pl.DataFrame:
    """`segment`, `item_index`, `weight`: events' weights, halved every `half_life_days`, in `all` and each segment.

    `segment` names that of each user number in `events`; an event is always in `all`. Sorted by segment and item.
    """
    decayed = weights * 0.5 ** ((end - events.time) / DAY / half_life_days)
    names = [ALL, *sorted(set(segment.unique().to_list()) - {ALL})]
    codes = segment.replace_strict(names, list(range(len(names))), return_dtype=pl.Int64).to_numpy()
    own = codes[events.user]
    within = own > 0
    width = int(events.item.max(initial=0)) + 1
    keys = np.concatenate([events.item, own[within] * width + events.item[within]])
    distinct, row = np.unique(keys, return_inverse=True)
    total = np.bincount(row, np.concatenate([decayed, decayed[within]]), minlength=len(distinct))
    named = pl.Series(names, dtype=pl.String)[pl.Series(distinct // width)]
    return pl.DataFrame(
        {columns.SEGMENT: named, columns.ITEM_INDEX: (distinct % width).astype(np.int32), WEIGHT: total}
    ).filter(pl.col(WEIGHT) > 0)


class Segment:
    """Scores items by their share of demand in the user's segment, drawn towards their share with everybody."""

    def __init__(
        self, demand: pl.DataFrame, position: npt.NDArray[np.int64], size: int, settings: SegmentConfig
    ) -> None:
        """`demand` as `segment_demand` gives it; positions as for `Repeat`."""
        kept = demand.with_columns(pl.Series("at", position[demand[columns.ITEM_INDEX].to_numpy()]))
        kept = kept.filter(pl.col("at") >= 0)
        self._names = _largest(kept, settings.segments)
        self._table = _shares(kept, self._names, size, settings.shrinkage)
        self._best = top_of(self._table, settings.quota)

    def block(self, users: Users) -> TableScores:
        """The scores of `users`."""
        rows = list(range(len(self._names)))
        row = users.segment.replace_strict(self._names, rows, default=0, return_dtype=pl.Int64)
        return TableScores(row.to_numpy(), self._table, self._best)


def _largest(demand: pl.DataFrame, segments: int) -> list[str]:
    """`all` and the segments with the most demand, ties by name."""
    sizes = demand.filter(pl.col(columns.SEGMENT) != ALL).group_by(columns.SEGMENT).agg(pl.col(WEIGHT).sum())
    ranked = sizes.sort([WEIGHT, columns.SEGMENT], descending=[True, False])
    return [ALL, *ranked[columns.SEGMENT].head(segments).to_list()]


def _shares(demand: pl.DataFrame, names: list[str], size: int, shrinkage: float) -> Floats:
    """float32[len(names), size]; row 0 is `all`."""
    rows = demand[columns.SEGMENT].replace_strict(names, list(range(len(names))), default=-1, return_dtype=pl.Int64)
    row, at, weight = rows.to_numpy(), demand["at"].to_numpy(), demand[WEIGHT].to_numpy()
    table = np.zeros((len(names), size), np.float32)
    table[row[row >= 0], at[row >= 0]] = weight[row >= 0]
    everybody = table[0] / max(float(table[0].sum(dtype=np.float64)), np.finfo(np.float32).tiny)
    for own in table[1:]:
        own[:] = (own + shrinkage * everybody) / (own.sum(dtype=np.float64) + shrinkage)
    table[0] = everybody
    return table
