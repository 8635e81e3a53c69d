"""What events say of items and of event types: counts between dates, as sums that add up over shards."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from recjobs import columns as c
from recjobs.extract.attributes import value_counts
from recjobs.extract.job import Job, end_of

TIMELINE = (c.USER, c.ITEM, c.EVENT_TYPE, c.TIMESTAMP)
"""The columns that histories and counts are made of."""


def item_counts_schema(job: Job) -> dict[str, pl.DataType]:
    """The columns of `item_counts`."""
    times = dict.fromkeys((c.FIRST_EVENT, c.LAST_EVENT), pl.Datetime("us", "UTC"))
    return {c.ITEM: pl.String(), **dict.fromkeys(sum_columns(job), pl.Int64()), **times}


def count_columns(job: Job) -> list[str]:
    """The names of the windowed counts, by event type and then window."""
    return [c.count_column(name, days) for name in job.settings.events.types for days in job.count_windows]


def sum_columns(job: Job) -> list[str]:
    """The counts among `item_counts_schema`, the first and last events left out."""
    return [c.TRAIN_EVENTS, c.N_EVENTS, c.N_USERS, *count_columns(job)]


def item_counts(job: Job, events: pl.DataFrame) -> pl.DataFrame:
    """Each item's counts over the shard's users: a row per item with an event until a cutoff.

    `events` has users as numbers.
    """
    past = pl.col(c.TIMESTAMP) < end_of(job.cutoffs.history_until)
    buyers = events.filter(pl.col(c.ITEM).is_not_null(), past).select(c.ITEM, c.USER).unique().group_by(c.ITEM)
    joined = event_sums(job, events).drop(c.N_USERS).join(buyers.agg(pl.len().alias(c.N_USERS)), on=c.ITEM, how="left")
    schema = item_counts_schema(job)
    return joined.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).with_columns(
        pl.col(c.N_USERS).fill_null(0)
    )


def event_sums(job: Job, events: pl.DataFrame) -> pl.DataFrame:
    """The same without users: `n_users` is 0."""
    train, history = (end_of(day) for day in (job.cutoffs.train_until, job.cutoffs.history_until))
    seen = events.filter(pl.col(c.ITEM).is_not_null(), pl.col(c.TIMESTAMP) < end_of(job.last_cutoff))
    past = pl.col(c.TIMESTAMP) < history
    counted = seen.group_by(c.ITEM).agg(
        (pl.col(c.TIMESTAMP) < train).sum().alias(c.TRAIN_EVENTS),
        past.sum().alias(c.N_EVENTS),
        pl.lit(0).alias(c.N_USERS),
        pl.col(c.TIMESTAMP).filter(past).min().alias(c.FIRST_EVENT),
        pl.col(c.TIMESTAMP).filter(past).max().alias(c.LAST_EVENT),
        *(
            _count(name, days, job.cutoffs.history_until)
            for name in job.settings.events.types
            for days in job.count_windows
        ),
    )
    return counted.select(pl.col(name).cast(dtype) for name, dtype in item_counts_schema(job).items())


def _count(event_type: str, days: int, until: date) -> pl.Expr:
    inside = (pl.col(c.TIMESTAMP) >= end_of(until - timedelta(days=days))) & (pl.col(c.TIMESTAMP) < end_of(until))
    return ((pl.col(c.EVENT_TYPE) == event_type) & inside).sum().alias(c.count_column(event_type, days))


def type_counts(job: Job, events: pl.DataFrame) -> pl.DataFrame:
    """How many events of each type there are until `train_until` (column, value, count)."""
    until = events.filter(pl.col(c.TIMESTAMP) < end_of(job.cutoffs.train_until))
    return value_counts(until.select(pl.col(c.EVENT_TYPE).cast(pl.String)), [c.EVENT_TYPE])
