"""What the sources learn from events until `train_until`: similar items, repeat intervals, demand by segment.

The first pass goes over shards of events and writes a shard's sums aside, similarities split by item into as many
buckets as there are shards; the second adds a bucket's sums up and keeps each item's nearest. So memory is bounded
by a shard and by a bucket. Sums are added in the order of shards: the same inputs give the same files.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from scipy import sparse

from recjobs import columns, storage
from recjobs.passes import Record, ready, run_pass
from recjobs.pipeline import BeamConfig
from recjobs.retrieve.search.sources.config import SourcesConfig
from recjobs.retrieve.search.sources.cooccurrence import Sequences, neighbours, pair_weights
from recjobs.retrieve.search.sources.ease import add_gram, had, item_weights, strongest
from recjobs.retrieve.search.sources.repeat import gap_sums, intervals
from recjobs.retrieve.search.sources.segment import WEIGHT, segment_demand
from recjobs.retrieve.search.sources.users import segment_names
from recjobs.retrieve.search.vectors import read_table, write_table

SIMILARITIES, EASE, INTERVALS, DEMAND = "cooccurrence", "ease", "intervals.parquet", "segments.parquet"
INTERVAL_DAYS = "interval_days"
_SCRATCH = ".learning"
_EVENTS, _LOG_GAPS, _REPEATS = "events", "log_gaps", "repeats"


@dataclass(frozen=True)
class LearningTask:
    """Where events, states and items are, where what is learnt goes; `end` is the first second not learnt from."""

    events: Mapping[str, Sequence[str]]
    """The files of each shard's events, by the name of its part."""
    users: str
    items: str
    folder: str
    end: int
    weights: Mapping[str, float]
    """Weight by event type, of those that say somebody wants an item."""
    settings: SourcesConfig

    @property
    def scratch(self) -> str:
        """The folder of partial sums."""
        return storage.join(self.folder, _SCRATCH)

    def wants(self, source: str) -> bool:
        """Whether that source is on."""
        return source in self.settings.quotas


def learn(task: LearningTask, parts: Sequence[str], config: BeamConfig) -> None:
    """Writes what the sources that are on have to know below `task.folder`; nothing where none has to know anything.

    `cooccurrence/part-*.parquet` (a bucket of items each), `ease/part-00000.parquet`, `intervals.parquet`,
    `segments.parquet`.

    Raises:
        MissingInputError: a part of events or states is not there.
        SettingsError: `ease.l2` is too small.
    """
    if not any(map(task.wants, ("cooccurrence", "repeat", "segment", "ease"))):
        return
    try:
        summing = partial(_summing, task, len(parts))
        run_pass(config, "sums of events", parts, summing, storage.join(task.folder, ".pass"))
        if task.wants("cooccurrence"):
            events = _added(task, parts, _EVENTS)
            nearest = ready(partial(_nearest, task, tuple(parts), events))
            run_pass(config, "similar items", range(len(parts)), nearest, storage.join(task.folder, ".pass"))
        if task.wants("repeat"):
            _write_intervals(task, parts)
        if task.wants("segment"):
            _write_demand(task, parts)
        if task.wants("ease"):
            _write_ease(task, parts)
    finally:
        storage.delete_folder(task.scratch)


# -- the pass over shards


def _summing(task: LearningTask, buckets: int) -> Callable[[str], Record]:
    items = pl.DataFrame(pl.from_arrow(read_table(task.items, [columns.ITEM, columns.ITEM_INDEX])))
    return partial(_sum_part, task, buckets, items)


def _sum_part(task: LearningTask, buckets: int, items: pl.DataFrame, part: str) -> Record:
    """Writes one shard's sums aside."""
    users = pl.DataFrame(
        pl.from_arrow(read_table(storage.join(task.users, part), [columns.USER, *task.settings.segment.by]))
    )
    frame = _events(task, users, items, part)
    events = Sequences(*(frame[name].to_numpy().astype(np.int64) for name in ("user", columns.ITEM_INDEX, "time")))
    sums = {_EVENTS: np.bincount(events.item, minlength=items.height + 1).astype(np.float64)}
    if task.wants("cooccurrence"):
        _write_pairs(task, buckets, pair_weights(events, items.height, task.settings.cooccurrence), part)
    if task.wants("ease"):
        _write_had(task, events, part)
    if task.wants("repeat"):
        sums[_LOG_GAPS], sums[_REPEATS] = gap_sums(events, items.height)
    if task.wants("segment"):
        settings = task.settings.segment
        segments = segment_names(users, settings.by, users.height)
        demand = segment_demand(events, frame[WEIGHT].to_numpy(), segments, task.end, settings.half_life_days)
        write_table(demand.to_arrow(), _aside(task, DEMAND, part))
    _write_sums(task, sums, part)
    return {"events": len(events)}


def _events(task: LearningTask, users: pl.DataFrame, items: pl.DataFrame, part: str) -> pl.DataFrame:
    """`user` (row of `users`), `item_index`, `time` (Unix seconds), `weight` of the events that count, as stored."""
    names = [columns.USER, columns.ITEM, columns.EVENT_TYPE, columns.TIMESTAMP]
    weeks = [pl.DataFrame(pl.from_arrow(read_table(uri, names))) for uri in task.events[part]]
    # Each week is in canonical order; so are all, once a user's weeks stand one after the other.
    events = pl.concat(weeks).sort(columns.USER, columns.TIMESTAMP, maintain_order=True)
    kinds = list(task.weights)
    time = pl.col(columns.TIMESTAMP).dt.epoch("s").alias("time")
    return (
        events.with_columns(time)
        .filter((pl.col("time") < task.end) & pl.col(columns.EVENT_TYPE).is_in(kinds))
        .join(users.select(columns.USER).with_row_index("user"), on=columns.USER, maintain_order="left")
        .join(items, on=columns.ITEM, maintain_order="left")
        .with_columns(
            pl.col(columns.EVENT_TYPE)
            .replace_strict(kinds, list(task.weights.values()), return_dtype=pl.Float64)
            .alias(WEIGHT)
        )
    )


def _write_pairs(task: LearningTask, buckets: int, weights: Any, part: str) -> None:
    """One file per bucket: item i is in bucket i mod `buckets`, so that popular items are spread."""
    cells = weights.tocoo()
    for bucket in range(buckets):
        chosen = cells.row % buckets == bucket
        table = {"row": cells.row[chosen], "column": cells.col[chosen], WEIGHT: cells.data[chosen].astype(np.float32)}
        write_table(pa.table(table), _aside(task, f"{SIMILARITIES}/{bucket}", part))


def _write_had(task: LearningTask, events: Sequences, part: str) -> None:
    """X of one shard: the filled cells."""
    cells = had(events, task.settings.ease.most_items).tocoo()
    write_table(pa.table({"row": cells.row, "column": cells.col}), _aside(task, EASE, part))


def _write_sums(task: LearningTask, sums: Mapping[str, npt.NDArray[np.float64]], part: str) -> None:
    content = io.BytesIO()
    np.savez(content, **sums)  # type: ignore[arg-type]
    storage.write_bytes(_aside(task, "sums", part), content.getvalue())


def _aside(task: LearningTask, what: str, part: str) -> str:
    return storage.join(task.scratch, what, part)


# -- what the sums give


def _added(task: LearningTask, parts: Sequence[str], name: str) -> npt.NDArray[np.float64]:
    """A sum over all shards, by item index."""
    total: Any = 0.0
    for part in parts:
        with np.load(io.BytesIO(storage.read_bytes(_aside(task, "sums", part)))) as sums:
            total = total + sums[name]
    return np.asarray(total, np.float64)


def _nearest(task: LearningTask, parts: Sequence[str], events: npt.NDArray[np.float64], bucket: int) -> Record:
    """Adds up one bucket's pairs and writes each item's nearest."""
    total = sparse.csr_matrix((len(events), len(events)), dtype=np.float64)
    for part in parts:
        table = read_table(_aside(task, f"{SIMILARITIES}/{bucket}", part))
        row, column, weight = (table[name].to_numpy() for name in ("row", "column", WEIGHT))
        weight = weight.astype(np.float64)
        total = total + sparse.coo_matrix((weight, (row, column)), shape=total.shape).tocsr()
    row, column, score = neighbours(total, events, task.settings.cooccurrence)
    _write_similar(task, SIMILARITIES, bucket, row, column, score)
    return {"pairs": len(row)}


def _write_similar(
    task: LearningTask,
    learnt: str,
    bucket: int,
    row: npt.NDArray[np.integer],
    column: npt.NDArray[np.integer],
    score: npt.NDArray[np.float32],
) -> None:
    """What item index `row` says of item index `column`."""
    pairs = {columns.ITEM_INDEX: row.astype(np.int32), columns.SIMILAR_INDEX: column.astype(np.int32)}
    write_table(pa.table({**pairs, columns.SCORE: score}), storage.join(task.folder, learnt, columns.part_name(bucket)))


def _write_intervals(task: LearningTask, parts: Sequence[str]) -> None:
    log_gaps, repeats = _added(task, parts, _LOG_GAPS), _added(task, parts, _REPEATS)
    days = intervals(log_gaps, repeats, task.settings.repeat)[1:]
    index = pa.array(np.arange(1, len(days) + 1, dtype=np.int32))
    table = pa.table({columns.ITEM_INDEX: index, INTERVAL_DAYS: days, _REPEATS: repeats[1:].astype(np.int64)})
    write_table(table, storage.join(task.folder, INTERVALS))


def _write_demand(task: LearningTask, parts: Sequence[str]) -> None:
    keys = [columns.SEGMENT, columns.ITEM_INDEX]
    total = None
    for part in parts:
        more = pl.DataFrame(pl.from_arrow(read_table(_aside(task, DEMAND, part))))
        both = more if total is None else pl.concat([total, more])
        # Two rows at most are added up for each key: their order changes nothing.
        total = both.group_by(keys).agg(pl.col(WEIGHT).sum()).sort(keys)
    assert total is not None
    write_table(total.to_arrow(), storage.join(task.folder, DEMAND))


def _write_ease(task: LearningTask, parts: Sequence[str]) -> None:
    """Sums XᵀX over the shards and writes the strongest weights."""
    settings = task.settings.ease
    items = min(settings.most_items, read_table(task.items, [columns.ITEM_INDEX]).num_rows)
    gram = np.zeros((items, items), np.float32)
    for part in parts:
        table = read_table(_aside(task, EASE, part))
        row, column = (table[name].to_numpy() for name in ("row", "column"))
        shape = (int(row.max(initial=-1)) + 1, items)
        add_gram(gram, sparse.coo_matrix((np.ones(len(row), np.float32), (row, column)), shape=shape).tocsr())
    row, column, weight = strongest(item_weights(gram, settings.l2), settings.neighbours)
    _write_similar(task, EASE, 0, row + 1, column + 1, weight)
