"""Post-conditions of extract: what later stages rely on, looked at in what was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa

from recjobs import columns as c
from recjobs.extract.job import end_of
from recjobs.manifest import Check
from recjobs.ragged import flat_lists, rows_of

_TOLD = {
    "misordered": "events that are not in canonical order",
    "users_not_unique": "users that are not after the user before them",
    "user_index_gaps": "users whose index is not the next one (or 0 without a training event)",
    "histories_unsorted": "history events older than the one before them",
    "after_cutoff": "history, pair or last-event times after history_until",
    "unknown_items": "history entries that are no item's index",
    "item_index_gaps": "items whose index is not the next one, or that stand twice",
    "rows_unaccounted": "event rows read that are neither kept nor told of",
}


def misordered_events(events: pl.DataFrame) -> int:
    """How many events stand before one of an earlier user, or of the same user and an earlier time."""
    user, moment = pl.col(c.USER), pl.col(c.TIMESTAMP)
    wrong = (user < user.shift()) | ((user == user.shift()) & (moment < moment.shift()))
    return int(events.select(wrong.sum()).item())


def faults_of_users(table: pa.Table, trained_before: int, until: date, items: int) -> dict[str, int]:
    """How often a shard's user states break each promise. `items` is one more than the highest item index."""
    ids = pl.Series(table.column(c.USER))
    index = table.column(c.USER_INDEX).to_numpy()
    numbered = index[index > 0]
    times, lengths = flat_lists(table.column(c.HISTORY_TIME))
    pair_times, _ = flat_lists(table.column(c.PAIR_LAST))
    found, _ = flat_lists(table.column(c.HISTORY_ITEM))
    same_user = np.diff(rows_of(lengths)) == 0
    end = int(end_of(until).timestamp())
    last = table.column(c.LAST_EVENT).drop_null().cast(pa.int64()).to_numpy() // 1_000_000
    return {
        "users_not_unique": int((ids <= ids.shift()).sum()),
        "user_index_gaps": int((numbered != np.arange(len(numbered)) + trained_before + 1).sum()),
        "histories_unsorted": int(((np.diff(times) < 0) & same_user).sum()),
        "after_cutoff": sum(int((array >= end).sum()) for array in (times, pair_times, last)),
        "unknown_items": int(((found < 1) | (found >= items)).sum()),
    }


def faults_of_items(items: pl.DataFrame) -> dict[str, int]:
    """How often the item states break each promise."""
    expected = pl.int_range(1, items.height + 1, eager=True)
    gaps = int((items[c.ITEM_INDEX].cast(pl.Int64) != expected).sum())
    return {"item_index_gaps": gaps + items.height - items[c.ITEM].n_unique()}


def promises(faults: Iterable[Mapping[str, int]]) -> list[Check]:
    """A check per promise, over the faults counted in all parts."""
    totals = dict.fromkeys(_TOLD, 0)
    for counted in faults:
        for name in totals.keys() & counted.keys():
            totals[name] += counted[name]
    return [
        Check(name=name, passed=count == 0, value=float(count), limit=0.0, detail=f"{count} {_TOLD[name]}")
        for name, count in totals.items()
    ]
