"""What is new: items first seen lately, by what their early demand says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns
from recjobs.retrieve.search.sources.config import NewConfig
from recjobs.retrieve.search.sources.scores import Floats, TableScores, top_of
from recjobs.retrieve.search.sources.users import DAY, Users

ITEM_COLUMNS = (columns.ITEM_INDEX, columns.CREATED_AT, columns.FIRST_EVENT, columns.N_USERS)


class Fresh:
    """Scores new items by users per day of life, drawn towards the mean of new items; all others 0."""

    def __init__(
        self, items: pl.DataFrame, position: npt.NDArray[np.int64], size: int, now: int, settings: NewConfig
    ) -> None:
        """`items` has ITEM_COLUMNS; positions as for `Repeat`; `now` in Unix seconds."""
        table = np.zeros((1, size), np.float32)
        at = position[items[columns.ITEM_INDEX].to_numpy()]
        table[0, at[at >= 0]] = demand_rate(items, now, settings)[at >= 0]
        self._table = table
        self._best = top_of(table, settings.quota)

    def block(self, users: Users) -> TableScores:
        """The scores of `users`: the same for all."""
        return TableScores(np.zeros(len(users), np.int64), self._table, self._best)


def demand_rate(items: pl.DataFrame, now: int, settings: NewConfig) -> Floats:
    """float32[items]: of items at most `days` old, above 0; of others, and those of unknown age, 0."""
    born = items.select(pl.coalesce(columns.CREATED_AT, columns.FIRST_EVENT).dt.epoch("s")).to_series()
    age = (now - born.cast(pl.Float64).fill_null(-np.inf).to_numpy()) / DAY
    new = (age >= 0) & (age <= settings.days)
    users = items[columns.N_USERS].fill_null(0).to_numpy().astype(np.float64)
    # An item nobody had yet may still be shown: half a user in all, spread over the new ones.
    mean = (users[new].sum() + 0.5) / max(age[new].sum(), 1.0)
    rate = (users + settings.shrinkage_days * mean) / (np.where(new, age, 1.0) + settings.shrinkage_days)
    return np.where(new, rate, 0.0).astype(np.float32)
