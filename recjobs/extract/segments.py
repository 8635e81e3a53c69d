"""Canonical events on disk: a folder a week, a part a shard, so that a night writes anew only the weeks it touches."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from recjobs import columns as c
from recjobs import storage
from recjobs.extract.frames import write_frame
from recjobs.extract.job import Job
from recjobs.extract.splitting import event_type_dtype

FOLDER = "events"
_WEEK = timedelta(days=7)
_START = "segment"


def first_segment(job: Job) -> date:
    """The Monday that the first segment is named by; what is older than that week is in it too."""
    return _monday(max(job.first_day, job.window_start))


def segments(job: Job) -> list[date]:
    """The Mondays of the window's weeks, from the first that has files; with events or without."""
    first, last = first_segment(job), _monday(job.ds)
    return [first + number * _WEEK for number in range((last - first) // _WEEK + 1)]


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def place(start: date, shard: int) -> tuple[str, str, str]:
    """The file of a segment and shard, below an artefact's folder."""
    return FOLDER, f"from={start}", c.part_name(shard)


def by_segment(job: Job, events: pl.DataFrame) -> dict[date, pl.DataFrame]:
    """The rows of each segment that has some, in the order they came."""
    week = pl.col(c.TIMESTAMP).dt.truncate("1w").dt.date()
    marked = events.with_columns(pl.max_horizontal(week, pl.lit(first_segment(job))).alias(_START))
    parts = marked.partition_by(_START, as_dict=True, include_key=False, maintain_order=True)
    return {key[0]: rows for key, rows in parts.items()}


def write_segments(job: Job, shard: int, events: pl.DataFrame, starts: Sequence[date]) -> None:
    """Writes the shard's part of the segments `starts`; `events` are theirs, in canonical order."""
    found = by_segment(job, events)
    for start in starts:
        rows = found.get(start, events.clear()).with_columns(pl.col(c.EVENT_TYPE).cast(pl.String))
        write_frame(rows, c.EVENT_SCHEMA, job.uri(*place(start, shard)))


def read_segments(job: Job, uris: Sequence[str], columns: Sequence[str], *kept: pl.Expr) -> pl.DataFrame:
    """The rows for which all of `kept` hold, segment after segment, event types in the order of their codes."""
    frames = [_read(uri, columns, kept) for uri in uris]
    found = pl.concat(frames) if frames else pl.DataFrame(schema=event_schema(columns))
    return found.with_columns(pl.col(c.EVENT_TYPE).cast(event_type_dtype(job.settings.events)))


def _read(uri: str, columns: Sequence[str], kept: Sequence[pl.Expr]) -> pl.DataFrame:
    source = io.BytesIO(storage.read_bytes(uri)) if storage.is_remote(uri) else Path(uri)
    return pl.scan_parquet(source, glob=False).filter(*kept).select(columns).collect()


def event_schema(columns: Sequence[str] = tuple(c.EVENT_SCHEMA.names)) -> pl.Schema:
    """The Polars types of columns of canonical events."""
    schema = pl.Schema(pl.from_arrow(c.EVENT_SCHEMA.empty_table()).schema)  # type: ignore[union-attr]
    return pl.Schema({name: schema[name] for name in columns})
