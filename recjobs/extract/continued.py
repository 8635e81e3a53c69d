"""What a night changes in a shard of the extract that it goes on from, and what stays as it is.

Users change who have an event that arrives, leaves the window, or is passed by a cutoff. Their events are read
back and put in order anew; everybody else's stay where they are, and so do the weeks that nobody's change touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import polars as pl

from recjobs import columns as c
from recjobs import storage
from recjobs.extract.duplicates import without_duplicates
from recjobs.extract.frames import read_columns, write_frame
from recjobs.extract.job import Job, Past, end_of, start_of
from recjobs.extract.order import in_order
from recjobs.extract.segments import by_segment, place, read_segments, segments, write_segments
from recjobs.extract.splitting import event_type_dtype

WAITING = "waiting"
_ALL = tuple(c.EVENT_SCHEMA.names)


@dataclass(frozen=True)
class Change:
    """A shard's users whose events have changed, and those events."""

    users: pl.Series | None
    """Sorted; None where everybody's were read."""
    events: pl.DataFrame
    """Their canonical events of the window, in order."""
    waiting: pl.DataFrame
    """The whole shard's repetitions that may outlive what they repeat, by user and then as they came."""
    kept: pl.DataFrame
    """Those of `events` that the past has, in no order."""
    added: pl.DataFrame
    """The others: what arrived, and repetitions that count from now on."""


def whole(job: Job, shard: int, arrived: pl.DataFrame) -> Change:
    """Everything, from all that arrived; writes the shard's part of every segment."""
    found = without_duplicates(arrived, job.settings.events.identity)
    events = in_order(found.events)
    write_segments(job, shard, events, segments(job))
    return Change(None, events, found.waiting, events.clear(), events)


def change_of(job: Job, shard: int, past: Past, arrived: pl.DataFrame) -> Change:
    """The users whom `arrived` and the passing of days change; writes the shard's part of every segment."""
    before = before_of(job, past)
    kept = pl.col(c.TIMESTAMP) >= start_of(job.window_start)
    users = _changed(job, shard, past, before, arrived)
    theirs = pl.col(c.USER).is_in(users.implode())
    uris = [past.uri(*place(start, shard)) for start in segments(before)]
    events = read_segments(job, uris, _ALL, theirs, kept)
    waiting = _waiting(job, past, shard).filter(kept)
    found = without_duplicates(pl.concat([events, waiting.filter(theirs), arrived]), job.settings.events.identity)
    change = Change(
        users,
        in_order(found.events),
        pl.concat([waiting.filter(~theirs), found.waiting]).sort(c.USER, maintain_order=True),
        # What the past has arrived first, so it is all there and before all others.
        kept=found.events.head(events.height),
        added=found.events.slice(events.height),
    )
    touched = _touched(job, before, pl.concat([waiting.filter(theirs), arrived])) | _cut(job, shard, past, before)
    _write_touched(job, shard, past, change, touched)
    return change


def before_of(job: Job, past: Past) -> Job:
    """The job that made `past`."""
    return replace(job, ds=past.ds, cutoffs=past.cutoffs, folder=past.folder, first_day=past.first_day, past=None)


def write_waiting(job: Job, shard: int, waiting: pl.DataFrame) -> None:
    """Writes `waiting/part-{shard}`."""
    rows = waiting.with_columns(pl.col(c.EVENT_TYPE).cast(pl.String))
    write_frame(rows, c.EVENT_SCHEMA, job.uri(WAITING, c.part_name(shard)))


def _waiting(job: Job, past: Past, shard: int) -> pl.DataFrame:
    rows = read_columns(past.uri(WAITING, c.part_name(shard)), _ALL)
    return rows.with_columns(pl.col(c.EVENT_TYPE).cast(event_type_dtype(job.settings.events)))


def overlapping(starts: Sequence[date], low: date, high: date) -> list[date]:
    """The segments that may hold events of the days `low` to `high`, both included. The first holds older ones too."""
    ends = [*starts[1:], date.max]
    pairs = zip(starts, ends, strict=True)
    return [start for start, end in pairs if end > low and (start <= high or start == starts[0])]


def _changed(job: Job, shard: int, past: Past, before: Job, arrived: pl.DataFrame) -> pl.Series:
    found = [arrived[c.USER]]
    for low, high in passed(job, before):
        uris = [past.uri(*place(start, shard)) for start in overlapping(segments(before), low, high)]
        inside = pl.col(c.TIMESTAMP).is_between(start_of(low), end_of(high), closed="left")
        found.append(read_segments(job, uris, (c.USER, c.EVENT_TYPE), inside)[c.USER])
    found.append(_at_the_limit(job, past, shard))
    return pl.concat(found).unique().sort()


def passed(job: Job, before: Job) -> list[tuple[date, date]]:
    """The days that left the window, and those that the cutoffs passed, first and last."""
    day = timedelta(days=1)
    spans = [(before.window_start, job.window_start - day)]
    for old, new in (
        (before.cutoffs.train_until, job.cutoffs.train_until),
        (before.cutoffs.history_until, job.cutoffs.history_until),
    ):
        spans.append((old + day, min(new, before.ds)))
    return [(low, high) for low, high in dict.fromkeys(spans) if low <= high]


def _at_the_limit(job: Job, past: Past, shard: int) -> pl.Series:
    """Users of whom only the latest pairs are kept: which ones those are, ties among them, new indexes may change."""
    pairs = read_columns(past.uri("users", c.part_name(shard)), (c.USER, c.PAIR_ITEM))
    return pairs.filter(pl.col(c.PAIR_ITEM).list.len() >= job.settings.extract.pair_limit)[c.USER]


def _touched(job: Job, before: Job, new: pl.DataFrame) -> set[date]:
    """The segments that hold some of the events `new`, and those that the past has not."""
    return set(by_segment(job, new)) | (set(segments(job)) - set(segments(before)))


def _cut(job: Job, shard: int, past: Past, before: Job) -> set[date]:
    """The first segment, where some of its events have left the window."""
    first = segments(job)[0]
    if first not in segments(before):
        return set()
    left = pl.col(c.TIMESTAMP) < start_of(job.window_start)
    gone = read_segments(job, [past.uri(*place(first, shard))], (c.EVENT_TYPE, c.TIMESTAMP), left)
    return {first} if gone.height else set()


def _write_touched(job: Job, shard: int, past: Past, change: Change, touched: set[date]) -> None:
    mine = by_segment(job, change.events)
    assert change.users is not None
    others = ~pl.col(c.USER).is_in(change.users.implode())
    known = set(segments(before_of(job, past)))
    for start in segments(job):
        if start not in touched:
            storage.copy_file(past.uri(*place(start, shard)), job.uri(*place(start, shard)))
            continue
        old = [past.uri(*place(start, shard))] if start in known else []
        rows = pl.concat([read_segments(job, old, _ALL, others), mine.get(start, change.events.clear())])
        write_segments(job, shard, in_order(rows), [start])
