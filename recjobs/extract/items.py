"""Item states: the newest snapshot joined with what events say of each item."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import polars as pl
import pyarrow as pa

from recjobs import columns as c
from recjobs import storage
from recjobs.extract import deltas
from recjobs.extract.attributes import value_counts
from recjobs.extract.frames import read_scratch
from recjobs.extract.job import Job
from recjobs.extract.snapshots import only_static
from recjobs.extract.splitting import Tally, write_quarantine
from recjobs.extract.tallies import count_columns, item_counts_schema, sum_columns
from recjobs.extract.tokens import token_lists, word_counts
from recjobs.extract.vocabulary import index_of
from recjobs.manifest import SourceFile
from recjobs.sources.config import ItemsSource
from recjobs.sources.contract import ITEM_COLUMNS, Contract, item_contract
from recjobs.sources.reading import read_blocks

logger = logging.getLogger(__name__)

_LAST_TITLE = "last_title"
_FOLD_ROWS = 4_000_000
"""Shards' item counts are added up whenever this many rows have come together."""


@dataclass(frozen=True)
class Snapshot:
    """The items of the newest snapshot, one row each. `dated` is false for undated files or none."""

    rows: pl.DataFrame
    dated: bool


def read_snapshot(job: Job, files: Sequence[SourceFile], quarantine_part: int) -> tuple[Snapshot, Tally]:
    """The snapshot's good rows (of rows with one id the last), and the tally of all.

    Bad rows go to the quarantine's part `quarantine_part`. An undated snapshot keeps its static
    columns alone.
    """
    source = job.settings.items or ItemsSource(path="")
    contract, tally, frames, quarantined = item_contract(source), Tally(), [], []
    for file in files:
        for block in read_blocks(file, contract):
            good, bad = block.split([(pl.col(c.PRICE) < 0, "price is negative")])
            tally.add_block(block, bad, None)
            frames.append(good)
            quarantined.append(bad)
    write_quarantine(job, quarantine_part, quarantined)
    rows = pl.concat(frames) if frames else pl.DataFrame(schema=contract.dtypes())
    dated = any(file.day is not None for file in files)
    rows = rows.unique(c.ITEM, keep="last", maintain_order=True)
    return Snapshot(rows if dated else only_static(rows, c.ITEM, source.static), dated), tally


def total_counts(job: Job) -> pl.DataFrame:
    """The shards' item counts added up, one row an item; to those of the past where they are what has changed."""
    past = job.counted_past
    totals = pl.DataFrame(schema=item_counts_schema(job)) if past is None else deltas.past_counts(job, past)
    pending: list[pl.DataFrame] = []
    for file in storage.list_files(job.scratch("item_counts")):
        pending.append(read_scratch(file.uri))
        if sum(frame.height for frame in pending) >= _FOLD_ROWS:
            totals, pending = added_counts(job, [totals, *pending]), []
    return added_counts(job, [totals, *pending])


def added_counts(job: Job, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Item counts of `frames` as one."""
    return (
        pl.concat(frames)
        .group_by(c.ITEM)
        .agg(pl.col(*sum_columns(job)).sum(), pl.col(c.FIRST_EVENT).min(), pl.col(c.LAST_EVENT).max())
        .select(item_counts_schema(job).keys())
    )


def join_items(job: Job, snapshot: Snapshot, counts: pl.DataFrame) -> pl.DataFrame:
    """All items with their index, the snapshot's columns and counts."""
    listed = snapshot.rows.with_columns(pl.col(c.AVAILABLE).fill_null(value=True))
    joined = listed.join(counts, on=c.ITEM, how="full", coalesce=True)
    complete = joined.with_columns(
        pl.col(*sum_columns(job)).fill_null(0),
        # An item that a dated snapshot no longer lists is gone; an undated one does not tell.
        pl.col(c.AVAILABLE).fill_null(value=not snapshot.dated),
    )
    ordered = complete.sort([c.TRAIN_EVENTS, c.ITEM], descending=[True, False])
    return ordered.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias(c.ITEM_INDEX))


def with_last_titles(job: Job, items: pl.DataFrame, snapshot: Snapshot, older: Sequence[SourceFile]) -> pl.DataFrame:
    """`items` where those that the snapshot no longer lists have the title of the newest of `older` that had one.

    Nothing else of them is kept: they are not available, and a price of then would be wrong.
    """
    gone = items.join(snapshot.rows, on=c.ITEM, how="anti").select(c.ITEM)
    known = _titles_in(job, older, gone[c.ITEM])
    return (
        items.join(known.rename({c.TITLE: _LAST_TITLE}), on=c.ITEM, how="left", maintain_order="left")
        .with_columns(pl.coalesce(c.TITLE, _LAST_TITLE).alias(c.TITLE))
        .drop(_LAST_TITLE)
    )


def _titles_in(job: Job, files: Sequence[SourceFile], wanted: pl.Series) -> pl.DataFrame:
    """`item_id` and `title` of the `wanted` in the first of `files` that has one; no more is held than these.

    A snapshot's rows that are bad count for nothing: they were quarantined in their night.
    """
    found = pl.DataFrame(schema={c.ITEM: pl.String, c.TITLE: pl.String})
    contract = _titles_contract(job.settings.items or ItemsSource(path=""))
    for day, of_day in groupby(files, lambda file: file.day):
        missing = wanted.filter(~wanted.is_in(found[c.ITEM].implode()))
        if missing.is_empty():
            break
        logger.info("looking for the titles of %d items that have gone, in the snapshot of %s", len(missing), day)
        blocks = (block.split()[0] for file in of_day for block in read_blocks(file, contract))
        titled = pl.col(c.TITLE).is_not_null() & pl.col(c.ITEM).is_in(missing.implode())
        rows = [block.filter(titled).select(c.ITEM, c.TITLE) for block in blocks]
        found = pl.concat([found, *rows]).unique(c.ITEM, keep="last", maintain_order=True)
    return found


def _titles_contract(source: ItemsSource) -> Contract:
    """Ids and titles alone; a snapshot of before there were titles does without."""
    whole = item_contract(source)
    columns = (
        replace(column, expected=column.required) for column in whole.columns if column.name in (c.ITEM, c.TITLE)
    )
    return replace(whole, columns=tuple(columns))


def vocabulary_columns(source: ItemsSource | None) -> list[str]:
    """Item columns whose values are numbered in the vocabulary."""
    further = [] if source is None else [name for name in source.categorical if name not in ITEM_COLUMNS]
    return [c.CATEGORY, c.BRAND, c.SELLER, c.LANGUAGE, *further]


def text_columns(source: ItemsSource | None) -> list[str]:
    """Item columns whose words are tokens."""
    return list(dict.fromkeys([c.TITLE, c.DESCRIPTION, *(source.text if source else ())]))


def item_value_counts(job: Job, items: pl.DataFrame) -> pl.DataFrame:
    """How many items have each value, and how many of their texts have each word (column, value, count)."""
    source = job.settings.items
    words = word_counts(items, text_columns(source), c.TOKEN)
    return pl.concat([value_counts(items, vocabulary_columns(source)), words])


def with_tokens(job: Job, items: pl.DataFrame, vocabulary: pl.DataFrame) -> pl.DataFrame:
    """`items` with the tokens of each text column: the indexes of its first known words, empty where none is."""
    index = index_of(vocabulary, c.TOKEN)
    limits = {c.TITLE: job.settings.extract.title_tokens}
    return items.with_columns(
        token_lists(items[text], index, limits.get(text, job.settings.extract.text_tokens)).alias(c.tokens_column(text))
        for text in text_columns(job.settings.items)
    )


def item_schema(job: Job) -> pa.Schema:
    """The columns of `items.parquet`."""
    types = {"text": pa.string(), "number": pa.float32(), "time": c.TIME_TYPE, "flag": pa.bool_(), "id": pa.string()}
    vector = pa.list_(pa.float32())
    contract = item_contract(job.settings.items or ItemsSource(path=""))
    return pa.schema(
        [
            pa.field(c.ITEM_INDEX, pa.int32()),
            *(pa.field(column.name, types.get(column.kind, vector)) for column in contract.columns),
            *(pa.field(c.tokens_column(text), pa.list_(pa.int32())) for text in text_columns(job.settings.items)),
            *(pa.field(name, pa.int64()) for name in (c.TRAIN_EVENTS, c.N_EVENTS, c.N_USERS)),
            *(pa.field(name, c.TIME_TYPE) for name in (c.FIRST_EVENT, c.LAST_EVENT)),
            *(pa.field(name, pa.int64()) for name in count_columns(job)),
        ]
    )
