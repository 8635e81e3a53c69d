"""Items' counts of a night: those of the past and what has changed. Only rows that came, went or crossed a date count.

A count is the number of stored events between two dates. So it changes by the events that were added, by those that
left the window, and by stored ones of the days that its own two dates have passed. An item's first event alone can't be
told from that once it has left: the next one is looked for from the oldest week on.

The past's counts hold everybody whom the past knew. Where somebody has been forgotten since, all is counted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from recjobs import columns as c
from recjobs import storage
from recjobs.extract.attributes import VOCABULARY_SCHEMA
from recjobs.extract.continued import Change, before_of, overlapping, passed
from recjobs.extract.frames import read_columns, read_scratch, write_scratch
from recjobs.extract.job import Job, Past, end_of, start_of
from recjobs.extract.segments import place, read_segments, segments
from recjobs.extract.tallies import TIMELINE, event_sums, item_counts_schema, sum_columns, type_counts
from recjobs.passes import Record

FIRSTS = "first_events"
_FIRST_LOOK = 2
"""How many of the oldest weeks every shard looks through for items' next first events."""
_BUYER = (c.ITEM, c.USER)


def item_deltas(job: Job, past: Past, shard: int, change: Change) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """What to add to the past's item counts (`item_counts_schema`), event types' counts and number of events.

    Numbers may be negative, and an item may have several rows. `first_event` and `last_event` are those of events that
    count now and did not before, and perhaps of some that did.
    """
    before = before_of(job, past)
    plus, minus = _moved(job, before, past, shard, change)
    times = [pl.lit(None, pl.Datetime("us", "UTC")).alias(name) for name in (c.FIRST_EVENT, c.LAST_EVENT)]
    gone = event_sums(before, minus).with_columns(*(-pl.col(name) for name in sum_columns(job)), *times)
    users = _as_counts(job, _users_delta(job, before, plus, minus, change))
    types = pl.concat([type_counts(job, plus), type_counts(before, minus).with_columns(-pl.col(c.VOCABULARY_COUNT))])
    return pl.concat([event_sums(job, plus), gone, users]), types, plus.height - minus.height


def _as_counts(job: Job, some: pl.DataFrame) -> pl.DataFrame:
    """`item_id` and some columns of item counts as all of them: other numbers are 0, other times null."""
    empty = [
        pl.lit(None if kind == pl.Datetime("us", "UTC") else 0, kind).alias(name)
        for name, kind in item_counts_schema(job).items()
        if name not in some.columns
    ]
    return some.with_columns(empty).select(item_counts_schema(job).keys())


def _moved(job: Job, before: Job, past: Past, shard: int, change: Change) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events to count by tonight's dates, and events to take off by the past's: all whose counting may differ."""
    spans = _edges(job, before)
    starts = sorted({start for low, high in spans for start in overlapping(segments(before), low, high)})
    inside = pl.any_horizontal(
        pl.col(c.TIMESTAMP).is_between(start_of(low), end_of(high), closed="left") for low, high in spans
    )
    stored = read_segments(job, [past.uri(*place(start, shard)) for start in starts], TIMELINE, inside)
    stays = stored.filter(pl.col(c.TIMESTAMP) >= start_of(job.window_start))
    return pl.concat([stays, change.added.select(TIMELINE)]), stored


def _edges(job: Job, before: Job) -> list[tuple[date, date]]:
    """The days that left the window, that the cutoffs passed, and that count windows have left behind."""
    old, new = before.cutoffs.history_until, job.cutoffs.history_until
    left = [(old - timedelta(days=days - 1), new - timedelta(days=days)) for days in job.count_windows]
    spans = [*passed(job, before), *((low, min(high, before.ds)) for low, high in left)]
    return [(low, high) for low, high in spans if low <= high]


def _users_delta(job: Job, before: Job, plus: pl.DataFrame, minus: pl.DataFrame, change: Change) -> pl.DataFrame:
    """By item: users who have it now and had not, less those who had it and have not. Only changed users can."""
    now, then = (pl.col(c.TIMESTAMP) < end_of(one.cutoffs.history_until) for one in (job, before))
    assert change.users is not None
    moved = pl.concat([plus, minus]).filter(pl.col(c.ITEM).is_not_null()).select(_BUYER)
    moved = moved.join(change.users.to_frame(c.USER), on=c.USER, how="semi").unique()
    gone = minus.filter(pl.col(c.TIMESTAMP) < start_of(job.window_start))
    old = pl.concat([change.kept.filter(then).select(_BUYER), gone.filter(then).select(_BUYER)])
    new = change.events.filter(now).select(_BUYER)
    has = [moved.join(pairs, on=list(_BUYER), how="semi").group_by(c.ITEM).len() for pairs in (new, old)]
    both = has[0].join(has[1], on=c.ITEM, how="full", coalesce=True, suffix="_old")
    difference = pl.col("len").cast(pl.Int64).fill_null(0) - pl.col("len_old").cast(pl.Int64).fill_null(0)
    return both.select(c.ITEM, difference.alias(c.N_USERS))


# -- what the past has


def past_counts(job: Job, past: Past) -> pl.DataFrame:
    """The past's item counts (`item_counts_schema`), without first and last events that have left the window."""
    stored = read_columns(past.uri("items.parquet"), list(item_counts_schema(job)))
    inside = [
        pl.when(pl.col(name) >= start_of(job.window_start)).then(pl.col(name)).alias(name)
        for name in (c.FIRST_EVENT, c.LAST_EVENT)
    ]
    return stored.with_columns(inside).select(pl.col(name).cast(kind) for name, kind in item_counts_schema(job).items())


def past_types(past: Past) -> pl.DataFrame:
    """The past's counts of event types (column, value, count)."""
    stored = read_columns(past.uri("vocabulary.parquet"), list(VOCABULARY_SCHEMA))
    return stored.filter(pl.col(c.VOCABULARY_COLUMN) == c.EVENT_TYPE)


def still_there(counts: pl.DataFrame) -> pl.DataFrame:
    """The items of `counts` with an event until a cutoff; first and last events only of those with one in states."""
    seen = counts.filter((pl.col(c.TRAIN_EVENTS) > 0) | (pl.col(c.N_EVENTS) > 0))
    return seen.with_columns(pl.when(pl.col(c.N_EVENTS) > 0).then(pl.col(c.FIRST_EVENT, c.LAST_EVENT)))


# -- items' first events


def early_firsts(job: Job, past: Past, shard: int) -> pl.DataFrame:
    """The next first events that the shard's oldest weeks have of items whose first one has left the window.

    `item_id`, `first_event`.
    """
    starts = segments(before_of(job, past))[:_FIRST_LOOK]
    return _firsts(job, past, shard, starts, _without_first(job, past))


def later_firsts(job: Job, wanted: str, shard: int) -> Record:
    """Writes the same of the items in the scratch file `wanted` and of all later weeks beside the early ones."""
    assert job.past is not None
    starts = segments(before_of(job, job.past))[_FIRST_LOOK:]
    found = _firsts(job, job.past, shard, starts, read_scratch(wanted))
    write_scratch(found, job.scratch(FIRSTS, f"{shard:05d}-later.arrow"))
    return {"found": found.height}


def first_events(job: Job) -> pl.DataFrame:
    """What the shards have written of first events, as item counts."""
    found = [read_scratch(file.uri) for file in storage.list_files(job.scratch(FIRSTS))]
    return _as_counts(job, pl.concat(found).group_by(c.ITEM).agg(pl.col(c.FIRST_EVENT).min()))


def still_wanted(job: Job, past: Past, counts: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """The items of `counts` whose first event has left the window and whose next one is not `found` yet."""
    alive = counts.filter(pl.col(c.N_EVENTS) > 0)
    wanted = _without_first(job, past).join(alive, on=c.ITEM, how="semi")
    return wanted.join(found, on=c.ITEM, how="anti")


def _without_first(job: Job, past: Past) -> pl.DataFrame:
    stored = read_columns(past.uri("items.parquet"), (c.ITEM, c.FIRST_EVENT))
    return stored.filter(pl.col(c.FIRST_EVENT) < start_of(job.window_start)).select(c.ITEM)


def _firsts(job: Job, past: Past, shard: int, starts: Sequence[date], items: pl.DataFrame) -> pl.DataFrame:
    found = []
    low, high = start_of(job.window_start), end_of(job.cutoffs.history_until)
    inside = pl.col(c.TIMESTAMP).is_between(low, high, closed="left")
    for start in starts:
        if items.is_empty():
            break
        names = (c.ITEM, c.EVENT_TYPE, c.TIMESTAMP)
        rows = read_segments(job, [past.uri(*place(start, shard))], names, inside).join(items, on=c.ITEM, how="semi")
        found.append(rows.group_by(c.ITEM).agg(pl.col(c.TIMESTAMP).min().alias(c.FIRST_EVENT)))
        items = items.join(found[-1], on=c.ITEM, how="anti")
    empty = pl.DataFrame(schema={c.ITEM: pl.String, c.FIRST_EVENT: pl.Datetime("us", "UTC")})
    return pl.concat([empty, *found])
