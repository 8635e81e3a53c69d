"""Writes days of the marketplace as input: events, and item and user snapshots of every day.

A day's files depend on the seed, the sizes and the day, on nothing written before: days can be
generated in any order, and more of them later.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from recjobs import columns as c
from recjobs import storage
from recjobs.sources.importing import EVENTS, ITEMS, USERS, write_parquet
from recjobs.sources.marketplace.catalogue import catalogue_of
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.dirt import soiled
from recjobs.sources.marketplace.happenings import KINDS, Happenings, events_table, organic, together
from recjobs.sources.marketplace.population import population_of
from recjobs.sources.marketplace.world import day_number

logger = logging.getLogger(__name__)

PROGRESS_EVERY = 10


class GenerationReport(BaseModel):
    """What was generated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    into: str
    first: date
    last: date
    days_written: int
    days_kept: int
    """Days that were there already and were left alone."""
    events: int
    """Good events written."""
    by_type: dict[str, int]
    dirty: dict[str, int]
    """Bad rows written, by fault."""
    users: int
    """Users on the last day."""
    items: int
    """Items on the last day."""
    seconds: float
    events_per_second: float


@dataclass(frozen=True)
class Folders:
    """Where events and snapshots are; each is a folder of `date=` partitions."""

    events: str
    items: str
    users: str

    @classmethod
    def below(cls, into: str) -> Folders:
        """The layout of the input contract below `into`."""
        return cls(*(storage.join(into, kind) for kind in (EVENTS, ITEMS, USERS)))

    def events_uri(self, day: date) -> str:
        """The file with the events of `day`."""
        return _partition(self.events, day)


@dataclass(frozen=True)
class GeneratedDay:
    """A day's table of events and what is in it."""

    table: pa.Table
    by_type: dict[str, int]
    dirty: dict[str, int]


def generate(config: MarketplaceConfig, into: str, until: date, *, keep: bool = False) -> GenerationReport:
    """Writes the `config.days` days up to and with `until` below `into`.

    A day that is there is written anew, or, with `keep`, left as it is (a day that was played in
    the app holds more than the generator knows). The same config gives the same bytes.
    """
    started = time.perf_counter()
    folders = Folders.below(into)
    days = [until - timedelta(days=back) for back in reversed(range(config.days))]
    by_type, dirty = Counter[str](), Counter[str]()
    written = 0
    for number, day in enumerate(days, start=1):
        if not (keep and storage.exists(folders.events_uri(day))):
            made = made_day(config, day)
            write_snapshots(config, folders, day)
            write_parquet(folders.events_uri(day), made.table)
            by_type.update(made.by_type)
            dirty.update(made.dirty)
            written += 1
        if number % PROGRESS_EVERY == 0 or number == len(days):
            logger.info("%d of %d days, %d events, %.1f s", number, len(days), by_type.total(), _since(started))
    seconds = _since(started)
    return GenerationReport(
        into=into,
        first=days[0],
        last=until,
        days_written=written,
        days_kept=len(days) - written,
        events=by_type.total(),
        by_type=dict(by_type),
        dirty=dict(dirty),
        users=len(population_of(config, day_number(until))),
        items=len(catalogue_of(config, day_number(until))),
        seconds=seconds,
        events_per_second=by_type.total() / seconds,
    )


def _since(started: float) -> float:
    return time.perf_counter() - started


def made_day(config: MarketplaceConfig, day: date, *more: Happenings) -> GeneratedDay:
    """The events of `day`: what visitors do on their own, and `more`, with the usual bad rows."""
    number = day_number(day)
    happened = together(organic(config, number), *more)
    table, dirty = soiled(config, number, events_table(config, number, happened))
    counts = {name: int((happened.kind == code).sum()) for code, name in enumerate(KINDS)}
    return GeneratedDay(table, counts, dirty)


def write_snapshots(config: MarketplaceConfig, folders: Folders, day: date) -> None:
    """Writes the item and user snapshot of `day`."""
    number = day_number(day)
    write_parquet(_partition(folders.users, day), population_of(config, number).snapshot())
    write_parquet(_partition(folders.items, day), catalogue_of(config, number).snapshot())


def _partition(folder: str, day: date) -> str:
    return storage.join(folder, f"date={day.isoformat()}", c.part_name(0))
