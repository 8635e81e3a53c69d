"""Learns relations from users' sequences until `train_until`: a pass over users, then one over items.

The first writes a shard's sums aside, split by item into as many buckets as there are shards; the second adds a
bucket's sums up, in the order of shards, and keeps each item's nearest. So memory is bounded by a shard and by a
bucket, and the same sequences give the same tables. No user is in them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq
from scipy import sparse

from recjobs import columns, storage
from recjobs.manifest import Manifest
from recjobs.passes import Record, ready, run_pass
from recjobs.pipeline import BeamConfig
from recjobs.rank.relations.config import RelationsConfig
from recjobs.rank.relations.counts import COLUMN, KINDS, ROW, TOGETHER, pair_sums, related
from recjobs.rank.states import ragged, read_table

RELATIONS = "relations"
_SCRATCH, _EVENTS = ".sums", "events"


@dataclass(frozen=True)
class LearningTask:
    """Whose sequences are learnt from, and where the tables go; `items` items."""

    extract: Manifest
    items: int
    folder: str
    settings: RelationsConfig

    def aside(self, what: str, part: str) -> str:
        """Where a shard's sums are."""
        return storage.join(self.folder, _SCRATCH, what, part)


def learn_relations(task: LearningTask, config: BeamConfig) -> None:
    """Writes `part-*.parquet` below `task.folder`, a bucket of items each: row, column, near, next, together."""
    parts = [columns.part_name(number) for number in range(len(task.extract.parts("recent")))]
    scratch = storage.join(task.folder, ".pass")
    try:
        run_pass(config, "pairs", parts, ready(partial(_sum_part, task, len(parts))), scratch)
        events = sum(_events(task, part) for part in parts)
        run_pass(config, "relations", range(len(parts)), ready(partial(_add_bucket, task, parts, events)), scratch)
    finally:
        storage.delete_folder(storage.join(task.folder, _SCRATCH))


def _sum_part(task: LearningTask, buckets: int, part: str) -> Record:
    table = read_table(task.extract.uri("recent", part), [columns.HISTORY_ITEM, columns.HISTORY_TIME])
    item, time = ragged(table[columns.HISTORY_ITEM]), ragged(table[columns.HISTORY_TIME])
    indexes = item.values.astype(np.int64)
    sums = pair_sums(item.rows(), indexes, time.values, task.settings.reach)
    for bucket in range(buckets):
        _write(sums.filter(pl.col(ROW) % buckets == bucket), task.aside(str(bucket), part))
    content = io.BytesIO()
    np.save(content, np.bincount(indexes, minlength=task.items + 1).astype(np.float64))
    storage.write_bytes(task.aside(_EVENTS, part), content.getvalue())
    return {"events": len(indexes)}


def _events(task: LearningTask, part: str) -> Any:
    return np.load(io.BytesIO(storage.read_bytes(task.aside(_EVENTS, part))))


def _add_bucket(task: LearningTask, parts: list[str], events: npt.NDArray[np.float64], bucket: int) -> Record:
    total: pl.DataFrame | None = None
    for part in parts:
        more = _read(task.aside(str(bucket), part))
        both = more if total is None else pl.concat([total, more])
        # Two rows at most are added up for each key: their order changes nothing.
        total = both.group_by(ROW, COLUMN).agg(pl.col(*KINDS).sum()).sort(ROW, COLUMN)
    assert total is not None
    kept = related(total, events, task.settings.shrinkage, task.settings.neighbours)
    _write(kept, storage.join(task.folder, columns.part_name(bucket)))
    return {"pairs": kept.height}


def _write(frame: pl.DataFrame, uri: str) -> None:
    with storage.writing(uri) as stream:
        pq.write_table(frame.to_arrow(), stream, compression="zstd")


def _read(uri: str) -> pl.DataFrame:
    frame = pl.from_arrow(read_table(uri))
    assert isinstance(frame, pl.DataFrame)
    return frame


@dataclass(frozen=True)
class Relations:
    """By kind of relation, CSR float32[items + 1, items + 1]: row i is what having had item i says of others."""

    tables: dict[str, Any]


def load_relations(folder: str, items: int) -> Relations:
    """What `learn_relations` wrote; items that nothing is known of have empty rows. `linked` is 1 where any pair is."""
    rates = pl.concat([_read(part.uri) for part in storage.list_files(folder)])
    cells = (rates[ROW].to_numpy(), rates[COLUMN].to_numpy())
    tables = {
        kind: sparse.coo_matrix((rates[kind].to_numpy(), cells), shape=(items + 1, items + 1)).tocsr() for kind in KINDS
    }
    for table in tables.values():
        table.eliminate_zeros()
    return Relations({**tables, "linked": tables[TOGETHER].sign()})
