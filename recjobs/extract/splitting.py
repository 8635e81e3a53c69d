"""First pass: source files are read in blocks, checked, quarantined, and split by the user's shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl

from recjobs import columns as c
from recjobs.extract.frames import write_frame, write_scratch
from recjobs.extract.job import Job, end_of, start_of
from recjobs.manifest import SourceFile
from recjobs.passes import Record
from recjobs.shards import shard_of
from recjobs.sources.config import EventsSource
from recjobs.sources.contract import Contract, event_contract, user_contract
from recjobs.sources.reading import Block, read_blocks
from recjobs.tombstones import Forgotten, names_forgotten

UNIT_BYTES = 32 << 20
"""Files are read together up to this size, so that small days don't make many small scratch files."""
FLUSH_ROWS = 2_000_000
"""Rows a worker holds before it writes them out."""
EXAMPLE_CHARACTERS = 200

Section = Literal["events", "users"]


@dataclass(frozen=True)
class Unit:
    """Some files of one source, read by one worker. `number` is unique over all sources."""

    number: int
    section: Section
    files: tuple[SourceFile, ...]


def units(events: Sequence[SourceFile], users: Sequence[SourceFile]) -> list[Unit]:
    """The files in units: events first, in the order of arrival; scratch files sort in this order."""
    grouped: list[tuple[Section, list[SourceFile]]] = []
    sections: tuple[tuple[Section, Sequence[SourceFile]], ...] = (("events", events), ("users", users))
    for section, files in sections:
        size = UNIT_BYTES
        for file in files:
            if size + file.size > UNIT_BYTES:
                grouped.append((section, []))
                size = 0
            grouped[-1][1].append(file)
            size += file.size
    return [Unit(number, section, tuple(files)) for number, (section, files) in enumerate(grouped)]


def scratch_schema(contract: Contract, source: EventsSource | None) -> dict[str, pl.DataType]:
    """The columns of scratch files: the contract's, and of events the arrival date."""
    if source is None:
        return contract.dtypes()
    return contract.dtypes() | {c.EVENT_TYPE: event_type_dtype(source), c.ARRIVAL_DATE: pl.Date()}


def event_type_dtype(source: EventsSource) -> pl.Enum:
    """Event types as an Enum that sorts by event code."""
    return pl.Enum(list(source.types))


@dataclass
class Tally:
    """What happened to the rows of some files of one source."""

    read: int = 0
    quarantined: int = 0
    late: int = 0
    before_window: int = 0
    forgotten: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    by_date: dict[str, Counter[str]] = field(default_factory=dict)

    def add_block(self, block: Block, quarantined: pl.DataFrame, day: date | None) -> None:
        """Counts a block's rows, and keeps an example of each new reason."""
        self.read += block.rows_read
        self.quarantined += quarantined.height
        if day is not None:
            self.on(day).update({"read": block.rows_read, "quarantined": quarantined.height})
        for file, line, reason, row in quarantined.iter_rows():
            self.reasons[reason] += 1
            self.examples.setdefault(reason, f"{file}:{line} {row[:EXAMPLE_CHARACTERS]}")

    def add_forgotten(self, rows: int, day: date | None) -> None:
        """Counts rows of forgotten users: they were read, and nothing else happened to them."""
        self.read += rows
        self.forgotten += rows
        if day is not None and rows:
            self.on(day).update({"read": rows, "forgotten": rows})

    def on(self, day: date) -> Counter[str]:
        """The counts of one arrival day."""
        return self.by_date.setdefault(str(day), Counter())

    def record(self, section: str) -> Record:
        """The tally as JSON-serialisable values."""
        return {"section": section, **{name: getattr(self, name) for name in Tally.__dataclass_fields__}}


def split_unit(job: Job, unit: Unit) -> Record:
    """Reads the unit's files and writes `_scratch/{section}/{shard}/…` and `quarantine/part-{unit}`.

    Rows keep the order of their files; those of forgotten users are dropped first. Returns the unit's tally.
    """
    tally, writer, quarantined = Tally(), _ShardWriter(job, unit), []
    contract = unit_contract(job, unit.section)
    for file in unit.files:
        day = file.day if unit.section == "events" else None
        for read in read_blocks(file, contract):
            block = without_forgotten(read, job.forgotten)
            tally.add_forgotten(read.rows_read - block.rows_read, day)
            good, bad = block.split(_event_checks(job, file) if unit.section == "events" else ())
            tally.add_block(block, bad, day)
            quarantined.append(bad)
            writer.add(_arrived(job, good, file, tally) if unit.section == "events" else good)
    writer.flush()
    write_quarantine(job, unit.number, quarantined)
    return tally.record(unit.section)


def without_forgotten(block: Block, forgotten: Forgotten) -> Block:
    """The block without the rows of forgotten users, those among them that could not be cut into cells."""
    if not forgotten:
        return block
    kept = pl.Series(~forgotten.rows(block.typed[c.USER].to_arrow()))
    malformed = pl.Series([not names_forgotten(row, forgotten) for row in block.malformed[c.ROW]], dtype=pl.Boolean)
    return Block(
        block.file,
        block.typed.filter(kept),
        block.raw.filter(kept),
        block.lines.filter(kept),
        block.reasons.filter(kept),
        block.malformed.filter(malformed),
    )


def unit_contract(job: Job, section: Section) -> Contract:
    """The contract of the section's files."""
    if section == "events":
        return event_contract(job.settings.events)
    assert job.settings.users is not None
    return user_contract(job.settings.users)


def write_quarantine(job: Job, number: int, frames: Sequence[pl.DataFrame]) -> None:
    """Part `number` of the quarantine."""
    rows = pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(c.QUARANTINE_SCHEMA.names, pl.String))
    write_frame(rows, c.QUARANTINE_SCHEMA, job.uri("quarantine", c.part_name(number)))


def _event_checks(job: Job, file: SourceFile) -> list[tuple[pl.Expr, str]]:
    types = job.settings.events.types
    with_item = [name for name, kind in types.items() if kind.has_item]
    checks = [
        (~pl.col(c.EVENT_TYPE).is_in(list(types)), "event_type is not declared in [events.types]"),
        (pl.col(c.ITEM).is_null() & pl.col(c.EVENT_TYPE).is_in(with_item), "item_id is missing"),
    ]
    if file.day is not None:
        checks.append((pl.col(c.TIMESTAMP) >= end_of(file.day), "timestamp is after the day the event arrived"))
    return checks


def _arrived(job: Job, events: pl.DataFrame, file: SourceFile, tally: Tally) -> pl.DataFrame:
    """The events that fall into the window, with their arrival date; late ones are counted and kept."""
    assert file.day is not None
    inside = events.filter(pl.col(c.TIMESTAMP) >= start_of(job.window_start))
    age = pl.lit(file.day) - pl.col(c.TIMESTAMP).dt.date()
    late = inside.select((age.dt.total_days() > job.settings.time.late_days).sum()).item()
    tally.late += late
    tally.before_window += events.height - inside.height
    tally.on(file.day).update({"late": late, "before_window": events.height - inside.height})
    return inside.with_columns(
        pl.col(c.EVENT_TYPE).cast(event_type_dtype(job.settings.events)), pl.lit(file.day).alias(c.ARRIVAL_DATE)
    )


class _ShardWriter:
    """Collects rows and writes them by shard, in files whose names sort in the order of the rows."""

    def __init__(self, job: Job, unit: Unit) -> None:
        self._job = job
        self._unit = unit
        self._frames: list[pl.DataFrame] = []
        self._rows = 0
        self._flushed = 0

    def add(self, frame: pl.DataFrame) -> None:
        self._frames.append(frame)
        self._rows += frame.height
        if self._rows >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            for shard, rows in by_shard(pl.concat(self._frames), self._job.shards):
                name = f"{self._unit.number:06d}-{self._flushed:04d}.arrow"
                write_scratch(rows, self._job.scratch(self._unit.section, f"{shard:05d}", name))
            self._flushed += 1
        self._frames, self._rows = [], 0


def by_shard(frame: pl.DataFrame, shards: int) -> list[tuple[int, pl.DataFrame]]:
    """The rows of each shard that has some, in the order they came."""
    shard = shard_of(frame[c.USER].to_arrow(), shards)
    order = np.argsort(shard, kind="stable")
    sorted_rows = frame[order]
    bounds = np.searchsorted(shard[order], np.arange(shards + 1))
    return [
        (number, sorted_rows.slice(int(low), int(high - low)))
        for number, (low, high) in enumerate(pairwise(bounds))
        if high > low
    ]
