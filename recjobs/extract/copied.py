"""States of users whose events are as they were: copied from the past, with tonight's indexes, prices and windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns as c
from recjobs import storage
from recjobs.extract import histories
from recjobs.extract.continued import before_of, overlapping
from recjobs.extract.frames import read_columns
from recjobs.extract.histories import Timeline
from recjobs.extract.job import Job, Past, end_of, start_of
from recjobs.extract.segments import place, read_segments, segments
from recjobs.extract.tallies import TIMELINE, count_columns
from recjobs.ragged import flat_lists, list_array, rows_of

RECENT = "recent"
RECENT_LISTS = (c.HISTORY_ITEM, c.HISTORY_TYPE, c.HISTORY_TIME, c.HISTORY_DEVICE)
"""The columns of `recent/part-*.parquet` besides the user: what training sequences are written from."""
Renumbered = npt.NDArray[np.int32]


def renumbered(past: Past, index: pl.DataFrame) -> Renumbered:
    """Tonight's item index by that of the past, int32[items + 1]; 0 for an item that is gone."""
    before = read_columns(past.uri("items.parquet"), (c.ITEM, c.ITEM_INDEX))
    found = before.join(index, on=c.ITEM, how="left", suffix="_now", maintain_order="left")
    now = np.zeros(before.height + 1, np.int32)
    now[found[c.ITEM_INDEX].to_numpy()] = found[f"{c.ITEM_INDEX}_now"].fill_null(0).to_numpy()
    return now


def rows_in(past: Past, folder: str, shard: int, users: pl.Series) -> tuple[pl.Series, pa.Table]:
    """Those of the sorted `users` that the past's part has, and their rows, in order."""
    with storage.reading(past.uri(folder, c.part_name(shard))) as stream:
        table = pq.read_table(stream)
    known = pl.Series(c.USER, table.column(c.USER)).to_frame().with_row_index("row")
    found = users.to_frame(c.USER).join(known, on=c.USER, how="inner", maintain_order="left")
    return found[c.USER], table.take(pa.array(found["row"].to_numpy()))


def copied_states(
    job: Job,
    past: Past,
    shard: int,
    users: pl.Series,
    table: pa.Table,
    index: Renumbered,
    prices: npt.NDArray[np.float64],
) -> dict[str, pa.Array]:
    """The columns of `users_states` for `users`, whose rows of the past are `table`."""
    history = _history(table, index)
    shifts = _shifts(job, past, shard, users)
    same = (c.N_EVENTS, c.FIRST_EVENT, c.LAST_EVENT, c.USUAL_DEVICE, c.HISTORY_TYPE, c.HISTORY_TIME)
    return {
        **{name: table.column(name).combine_chunks() for name in same},
        c.ACTIVE_DAYS: _less(table, c.ACTIVE_DAYS, shifts.active_days),
        c.USUAL_PRICE: histories.usual_price(history, prices),
        **{name: _less(table, name, shifts.counts[name]) for name in count_columns(job)},
        c.HISTORY_ITEM: list_array(pa.array(history.item, pa.int32()), history.per_user()),
        **_pairs(table, index),
    }


def copied_recent(table: pa.Table, index: Renumbered) -> dict[str, pa.Array]:
    """The columns RECENT_LISTS of the rows of the past in `table`."""
    item, lengths = flat_lists(table.column(c.HISTORY_ITEM))
    same = {name: table.column(name).combine_chunks() for name in RECENT_LISTS[1:]}
    return {c.HISTORY_ITEM: list_array(pa.array(index[item], pa.int32()), lengths), **same}


def _history(table: pa.Table, index: Renumbered) -> Timeline:
    item, lengths = flat_lists(table.column(c.HISTORY_ITEM))
    code, _ = flat_lists(table.column(c.HISTORY_TYPE))
    seconds, _ = flat_lists(table.column(c.HISTORY_TIME))
    return Timeline(table.num_rows, rows_of(lengths).astype(np.int64), index[item], code, seconds)


def _less(table: pa.Table, name: str, gone: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(table.column(name).to_numpy() - gone, pa.int32())


def _pairs(table: pa.Table, index: Renumbered) -> dict[str, pa.Array]:
    """`pair_*` with tonight's indexes; pairs of one time are put in their new order."""
    old, lengths = flat_lists(table.column(c.PAIR_ITEM))
    flat = {name: flat_lists(table.column(name))[0] for name in (c.PAIR_TYPE, c.PAIR_COUNT, c.PAIR_LAST)}
    item, row = index[old], rows_of(lengths)
    order = _resolved(row, flat[c.PAIR_LAST], item, flat[c.PAIR_TYPE])
    values = {c.PAIR_ITEM: item, **flat}
    kinds = {c.PAIR_ITEM: pa.int32(), c.PAIR_TYPE: pa.int8(), c.PAIR_COUNT: pa.int32(), c.PAIR_LAST: pa.int64()}
    return {name: list_array(pa.array(values[name][order], kind), lengths) for name, kind in kinds.items()}


def _resolved(
    row: npt.NDArray[np.int32], last: npt.NDArray[np.int64], item: Renumbered, code: npt.NDArray[np.int8]
) -> npt.NDArray[np.int64]:
    """The order in which ties of (row, last), which are next to each other, are sorted by item and type."""
    order = np.arange(len(row), dtype=np.int64)
    same = (row[1:] == row[:-1]) & (last[1:] == last[:-1])
    tied = np.r_[False, same] | np.r_[same, False]
    if tied.any():
        at = np.flatnonzero(tied)
        run = np.cumsum(np.r_[True, ~same])[at]
        order[at] = at[np.lexsort((code[at], item[at], run))]
    return order


@dataclass(frozen=True)
class _Shifts:
    """What left the windows of counts since the past, by user."""

    counts: dict[str, npt.NDArray[np.int64]]
    active_days: npt.NDArray[np.int64]


def _shifts(job: Job, past: Past, shard: int, users: pl.Series) -> _Shifts:
    codes = job.settings.event_codes()
    counts: dict[str, npt.NDArray[np.int64]] = {}
    active = np.zeros(users.len(), np.int64)
    for days, (low, high) in _left(job, past):
        gone = _between(job, past, shard, users, low, high)
        for name, code in codes.items():
            counts[c.count_column(name, days)] = gone.where(gone.code == code).per_user()
        if days == job.count_windows[-1]:
            active = _distinct_days(gone)
    return _Shifts(counts, active)


def _left(job: Job, past: Past) -> Iterator[tuple[int, tuple[date, date]]]:
    """By count window: the days that it has left behind."""
    for days in job.count_windows:
        low, high = (until - timedelta(days=days) for until in (past.cutoffs.history_until, job.cutoffs.history_until))
        yield days, (low + timedelta(days=1), min(high, past.cutoffs.history_until))


def _between(job: Job, past: Past, shard: int, users: pl.Series, low: date, high: date) -> Timeline:
    """The events of `users` on the days `low` to `high`, without items."""
    starts = overlapping(segments(before_of(job, past)), low, high) if low <= high else []
    inside = pl.col(c.TIMESTAMP).is_between(start_of(low), end_of(high), closed="left")
    uris = [past.uri(*place(start, shard)) for start in starts]
    events = read_segments(job, uris, TIMELINE, inside).with_columns(
        pl.col(c.EVENT_TYPE).to_physical().cast(pl.Int8) + 1
    )
    nothing = pl.DataFrame(schema={c.ITEM: pl.String, c.ITEM_INDEX: pl.Int32})
    return histories.timeline(events, users, nothing)


def _distinct_days(events: Timeline) -> npt.NDArray[np.int64]:
    days = np.unique(np.stack([events.user, events.seconds // 86_400]), axis=1)
    return np.bincount(days[0], minlength=events.users).astype(np.int64)
