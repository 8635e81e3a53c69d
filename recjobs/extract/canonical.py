"""Second pass, by shard: duplicates go, canonical events are written, items and attributes are counted."""

from __future__ import annotations

from datetime import date

import polars as pl

from recjobs import columns as c
from recjobs.device_codes import device_codes
from recjobs.extract import attributes
from recjobs.extract.checks import misordered_events
from recjobs.extract.continued import Change, change_of, whole, write_waiting
from recjobs.extract.deltas import FIRSTS, early_firsts, item_deltas
from recjobs.extract.frames import read_columns, read_scratch_folder, write_frame, write_scratch
from recjobs.extract.job import Job, end_of
from recjobs.extract.segments import place, read_segments, segments
from recjobs.extract.splitting import scratch_schema, unit_contract
from recjobs.extract.tallies import TIMELINE, item_counts, type_counts
from recjobs.passes import Record
from recjobs.sources.contract import event_contract

LATEST = "latest"


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
    counts, types, rows = _counts(job, shard, change)
    write_scratch(counts, job.scratch("item_counts", f"{shard:05d}.arrow"))
    latest = {name: _write_latest(job, shard, name, until, change) for name, until in latest_until(job).items()}
    known = attributes.joined(latest["train"], snapshot_shard(job, shard))
    write_scratch(known, job.scratch("trained", f"{shard:05d}.arrow"))
    source_of_users = job.settings.users
    counted = [
        attributes.value_counts(known, attributes.vocabulary_columns(source_of_users)),
        attributes.told_words(known, source_of_users),
        types,
    ]
    write_scratch(pl.concat(counted), job.scratch("vocabulary", f"{shard:05d}.arrow"))
    _write_change(job, shard, change)
    new = change.events.filter(pl.col(c.ARRIVAL_DATE) > job.read_after)
    return {
        "events": rows,
        "kept": new.height,
        "misordered": misordered_events(change.events),
        "trained": known[attributes.TRAINED].sum(),
        "duplicates": _rows_by_day(arrived, new),
    }


def latest_until(job: Job) -> dict[str, date]:
    """The dates as of which users' latest values are kept, by the folder below `latest/`; the trained one first."""
    dates = {"train": job.cutoffs.train_until, "history": job.cutoffs.history_until}
    return dates if len(set(dates.values())) > 1 else {"train": dates["train"]}


def _counts(job: Job, shard: int, change: Change) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Item counts, event types' counts and the number of events: of the shard, or what to add to the past's."""
    if (past := job.counted_past) is None:
        events = _everything(job, shard, change)
        return item_counts(job, events), type_counts(job, events), events.height
    write_scratch(early_firsts(job, past, shard), job.scratch(FIRSTS, f"{shard:05d}.arrow"))
    return item_deltas(job, past, shard, change)


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
