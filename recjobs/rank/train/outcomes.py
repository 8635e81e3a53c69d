"""Which candidates were followed by an outcome, of which task, and when first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import gcd

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from recjobs import columns
from recjobs.manifest import Manifest
from recjobs.rank.features import Pairs
from recjobs.rank.states import end_of, read_table

NEVER = np.iinfo(np.int64).max
"""The time of an outcome that did not happen."""
_TASK, _USER_ROW = "task", "user_row"


@dataclass(frozen=True)
class Window:
    """Outcomes count from Unix second `start` to before `end`."""

    start: int
    end: int


def label_window(earlier: Manifest, train_until_end: int) -> Window:
    """The label days after all that the earlier candidates and features had seen; none after `train_until`."""
    seen = max(earlier.cutoffs.history_until, earlier.cutoffs.train_until, earlier.ds)
    until = earlier.ds + timedelta(days=earlier.cutoffs.label_days)
    return Window(end_of(seen), min(end_of(until), train_until_end))


def event_parts(extract: Manifest, shard: int, shards: int) -> list[str]:
    """The parts of tonight's events that hold users of shard `shard` of `shards`.

    The same part when both nights have as many shards. Otherwise h mod `shards` = `shard` leaves those parts p
    with p = `shard` modulo the greatest common divisor; they hold other users too.
    """
    parts = extract.shards("events")
    step = gcd(shards, len(parts)) if parts else 1
    held = (files for number, files in enumerate(parts) if number % step == shard % step)
    return [file.uri for files in held for file in files]


def read_outcomes(uris: list[str], window: Window) -> pl.DataFrame:
    """Events with an item inside `window`: user, item, type and Unix seconds; nothing later is looked at."""
    names = [columns.USER, columns.ITEM, columns.EVENT_TYPE, columns.TIMESTAMP]
    start, end = (pa.scalar(second * 1_000_000, columns.TIME_TYPE) for second in (window.start, window.end))
    kept = []
    for uri in uris:
        table = read_table(uri, names)
        when = table[columns.TIMESTAMP]
        inside = pc.and_(pc.greater_equal(when, start), pc.less(when, end))
        kept.append(pl.from_arrow(table.filter(pc.and_(inside, pc.is_valid(table[columns.ITEM])))))
    frame = pl.concat([part for part in kept if isinstance(part, pl.DataFrame)])
    return frame.with_columns(pl.col(columns.TIMESTAMP).dt.epoch("s"))


def first_outcomes(
    pairs: Pairs, users: pa.Array, items: pl.Series, outcomes: pl.DataFrame, task_of: dict[str, int], tasks: int
) -> npt.NDArray[np.int64]:
    """When each pair first had an outcome of each task, int64[pairs, tasks] Unix seconds; NEVER where not.

    `users` are the user states' ids, `items` the item ids in the order of item_index (from 1), `task_of` maps an
    event type to its task's position.
    """
    coded = _coded(users, items, outcomes, task_of)
    width = len(items) + 1
    keys = pairs.user * width + pairs.item
    order = np.argsort(keys, kind="stable")
    wanted = coded[_USER_ROW].to_numpy().astype(np.int64) * width + coded[columns.ITEM_INDEX].to_numpy()
    first = np.full((len(pairs), tasks), NEVER, np.int64)
    if not len(pairs):
        return first
    position = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
    row = order[position]
    hit = keys[row] == wanted
    np.minimum.at(first, (row[hit], coded[_TASK].to_numpy()[hit]), coded[columns.TIMESTAMP].to_numpy()[hit])
    return first


def _coded(users: pa.Array, items: pl.Series, outcomes: pl.DataFrame, task_of: dict[str, int]) -> pl.DataFrame:
    """The outcomes of known users on known items, with rows and indexes in place of ids."""
    user_rows = pl.DataFrame({columns.USER: pl.Series(pl.from_arrow(users)).cast(pl.String)}).with_row_index(_USER_ROW)
    item_rows = pl.DataFrame({columns.ITEM: items}).with_row_index(columns.ITEM_INDEX, offset=1)
    codes = pl.DataFrame({columns.EVENT_TYPE: list(task_of), _TASK: list(task_of.values())})
    return (
        outcomes.join(user_rows, on=columns.USER)
        .join(item_rows, on=columns.ITEM)
        .join(codes, on=columns.EVENT_TYPE)
        .select(_USER_ROW, columns.ITEM_INDEX, _TASK, columns.TIMESTAMP)
    )
