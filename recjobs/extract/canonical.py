"""Second pass, by shard: duplicates go, canonical events are written, items and attributes are counted."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from recjobs import columns as c
from recjobs.device_codes import device_codes
from recjobs.extract import attributes
from recjobs.extract.checks import misordered_events
from recjobs.extract.continued import Change, change_of, whole, write_waiting
from recjobs.extract.frames import read_columns, read_scratch_folder, write_frame, write_scratch
from recjobs.extract.job import Job, end_of
from recjobs.extract.segments import place, read_segments, segments
from recjobs.extract.splitting import scratch_schema, unit_contract
from recjobs.passes import Record
from recjobs.sources.contract import event_contract

LATEST = "latest"
TIMELINE = (c.USER, c.ITEM, c.EVENT_TYPE, c.TIMESTAMP)
"""The columns that histories and counts are made of."""


def canonical_shard(job: Job, shard: int) -> Record:
    """Writes the shard's parts of `events`, `waiting` and `latest`, and scratch files for the passes after it.

    Scratch: `item_counts/{shard}` (`item_counts`), `vocabulary/{shard}` (column, value, count), `trained/{shard}`
    (attributes of users as of `train_until`, sorted by user), `changed/{shard}` (the users whose states are made anew)
    and `timeline/{shard}` (their canonical events until the last cutoff, devices as codes).
    """
    source = job.settings.events
    schema = scratch_schema(event_contract(source), source)
    arrived = read_scratch_folder(job.scratch("events", f"{shard:05d}"), schema).select(c.EVENT_SCHEMA.names)
    change = whole(job, shard, arrived) if job.past is None else change_of(job, shard, job.past, arrived)
    write_waiting(job, shard, change.waiting)
    events = _everything(job, shard, change)
    write_scratch(item_counts(job, events), job.scratch("item_counts", f"{shard:05d}.arrow"))
    latest = {name: _write_latest(job, shard, name, until, change) for name, until in latest_until(job).items()}
    known = attributes.joined(latest["train"], snapshot_shard(job, shard))
    write_scratch(known, job.scratch("trained", f"{shard:05d}.arrow"))
    until = events.filter(pl.col(c.TIMESTAMP) < end_of(job.cutoffs.train_until))
    source_of_users = job.settings.users
    counted = [
        attributes.value_counts(known, attributes.vocabulary_columns(source_of_users)),
        attributes.told_words(known, source_of_users),
        _type_counts(until),
    ]
    write_scratch(pl.concat(counted), job.scratch("vocabulary", f"{shard:05d}.arrow"))
    _write_change(job, shard, change)
    new = change.events.filter(pl.col(c.ARRIVAL_DATE) > job.read_after)
    return {
        "events": events.height,
        "kept": new.height,
        "misordered": misordered_events(change.events),
        "trained": known[attributes.TRAINED].sum(),
        "duplicates": _rows_by_day(arrived, new),
    }


def latest_until(job: Job) -> dict[str, date]:
    """The dates as of which users' latest values are kept, by the folder below `latest/`; the trained one first."""
    dates = {"train": job.cutoffs.train_until, "history": job.cutoffs.history_until}
    return dates if len(set(dates.values())) > 1 else {"train": dates["train"]}


def _everything(job: Job, shard: int, change: Change) -> pl.DataFrame:
    """All canonical events of the shard, users as numbers."""
    if change.users is None:
        return change.events.select(TIMELINE).with_columns(pl.col(c.USER).rle_id())
    events = read_segments(job, [job.uri(*place(start, shard)) for start in segments(job)], TIMELINE)
    return events.with_columns(pl.col(c.USER).cast(pl.Categorical).to_physical())


def _write_latest(job: Job, shard: int, name: str, until: date, change: Change) -> pl.DataFrame:
    """Writes `latest/{name}/part-{shard}`: those of the users who changed anew, the others' as they were."""
    latest = attributes.latest_of(change.events.filter(pl.col(c.TIMESTAMP) < end_of(until)))
    place = (LATEST, name, c.part_name(shard))
    if job.past is not None and change.users is not None:
        before = read_columns(job.past.uri(*place), attributes.LATEST_SCHEMA.names)
        others = before.filter(~pl.col(c.USER).is_in(change.users.implode()))
        latest = pl.concat([others, latest.select(others.columns)]).sort(c.USER)
    write_frame(latest, attributes.LATEST_SCHEMA, job.uri(*place))
    return latest


def _write_change(job: Job, shard: int, change: Change) -> None:
    events = change.events.filter(pl.col(c.TIMESTAMP) < end_of(job.last_cutoff))
    timeline = events.select(*TIMELINE, device_codes(events[c.DEVICE]))
    write_scratch(timeline, job.scratch("timeline", f"{shard:05d}.arrow"))
    if change.users is not None:
        write_scratch(change.users.to_frame(c.USER), job.scratch("changed", f"{shard:05d}.arrow"))


def part(job: Job, folder: str, shard: int, extension: str = "parquet") -> str:
    """The URI of a shard's part of a sharded output."""
    return job.uri(folder, c.part_name(shard, extension))


def snapshot_shard(job: Job, shard: int) -> pl.DataFrame:
    """The newest snapshot's users of this shard, sorted; of rows with one id the last counts."""
    if job.settings.users is None:
        return pl.DataFrame(schema=attributes.snapshot_schema(None))
    schema = scratch_schema(unit_contract(job, "users"), None)
    rows = read_scratch_folder(job.scratch("users", f"{shard:05d}"), schema)
    return rows.unique(c.USER, keep="last", maintain_order=True).sort(c.USER)


def _rows_by_day(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, int]:
    """How many rows went, by arrival day."""
    if before.height == after.height:
        return {}
    days = [frame.group_by(c.ARRIVAL_DATE).len() for frame in (before, after)]
    joined = days[0].join(days[1], on=c.ARRIVAL_DATE, how="left").sort(c.ARRIVAL_DATE)
    gone = joined.select(pl.col(c.ARRIVAL_DATE).cast(pl.String), pl.col("len") - pl.col("len_right").fill_null(0))
    return {day: count for day, count in gone.iter_rows() if count}


def item_counts_schema(job: Job) -> dict[str, pl.DataType]:
    """The columns of `item_counts`."""
    numbers = [c.TRAIN_EVENTS, c.N_EVENTS, c.N_USERS, *count_columns(job)]
    times = dict.fromkeys((c.FIRST_EVENT, c.LAST_EVENT), pl.Datetime("us", "UTC"))
    return {c.ITEM: pl.String(), **dict.fromkeys(numbers, pl.Int64()), **times}


def count_columns(job: Job) -> list[str]:
    """The names of the windowed counts, by event type and then window."""
    return [c.count_column(name, days) for name in job.settings.events.types for days in job.count_windows]


def item_counts(job: Job, events: pl.DataFrame) -> pl.DataFrame:
    """Each item's counts over the shard's users: a row per item with an event until a cutoff.

    `events` has users as numbers.
    """
    train, history = (end_of(day) for day in (job.cutoffs.train_until, job.cutoffs.history_until))
    seen = events.filter(pl.col(c.ITEM).is_not_null(), pl.col(c.TIMESTAMP) < end_of(job.last_cutoff))
    past = pl.col(c.TIMESTAMP) < history
    counted = seen.group_by(c.ITEM).agg(
        (pl.col(c.TIMESTAMP) < train).sum().alias(c.TRAIN_EVENTS),
        past.sum().alias(c.N_EVENTS),
        pl.col(c.TIMESTAMP).filter(past).min().alias(c.FIRST_EVENT),
        pl.col(c.TIMESTAMP).filter(past).max().alias(c.LAST_EVENT),
        *(
            _count(name, days, job.cutoffs.history_until)
            for name in job.settings.events.types
            for days in job.count_windows
        ),
    )
    buyers = seen.filter(past).select(c.ITEM, c.USER).unique().group_by(c.ITEM).agg(pl.len().alias(c.N_USERS))
    schema = item_counts_schema(job)
    joined = counted.join(buyers, on=c.ITEM, how="left").with_columns(pl.col(c.N_USERS).fill_null(0))
    return joined.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _count(event_type: str, days: int, until: date) -> pl.Expr:
    inside = (pl.col(c.TIMESTAMP) >= end_of(until - timedelta(days=days))) & (pl.col(c.TIMESTAMP) < end_of(until))
    return ((pl.col(c.EVENT_TYPE) == event_type) & inside).sum().alias(c.count_column(event_type, days))


def _type_counts(events: pl.DataFrame) -> pl.DataFrame:
    return attributes.value_counts(events.select(pl.col(c.EVENT_TYPE).cast(pl.String)), [c.EVENT_TYPE])
