"""What users did in some days: the outcomes that lists are judged on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pyarrow.parquet as pq

from recjobs import storage
from recjobs.columns import EVENT_TYPE, ITEM, TIMESTAMP, USER
from recjobs.evaluate.judging import outcome_types
from recjobs.manifest import SourceFile
from recjobs.settings import Settings

OUTCOMES = pl.Schema({USER: pl.String, ITEM: pl.String})
"""The columns of outcomes: each (user, item) once."""


def read_outcomes(uris: Sequence[str], types: Sequence[str], after: date, until: date) -> pl.DataFrame:
    """The distinct outcomes (`OUTCOMES`) in canonical event files, of the days after `after` up to and with `until`."""
    found = [OUTCOMES.to_frame()]
    for uri in uris:
        with storage.reading(uri) as stream:
            table = pq.read_table(stream, columns=[USER, ITEM, EVENT_TYPE, TIMESTAMP])
        found.append(outcomes_of(pl.DataFrame(pl.from_arrow(table)), types, after, until))
    return pl.concat(found).unique().sort(USER, ITEM)


def outcomes_of(events: pl.DataFrame, types: Sequence[str], after: date, until: date) -> pl.DataFrame:
    """The distinct outcomes (`OUTCOMES`) among `events`."""
    moment = pl.col(TIMESTAMP)
    within = (moment >= _start(after + timedelta(days=1))) & (moment < _start(until + timedelta(days=1)))
    kept = events.filter(within & pl.col(EVENT_TYPE).is_in(list(types)) & pl.col(ITEM).is_not_null())
    return kept.select(pl.col(USER, ITEM).cast(pl.String)).unique()


def outcomes_from_sources(settings: Settings, after: date, until: date) -> pl.DataFrame:
    """The distinct outcomes (`OUTCOMES`) straight from the sources, of the days after `after` up to and with `until`.

    Only for judging by hand (`recjobs evaluate`): a nightly run never reads past its data date. Reads the partitions
    that arrived on these days; rows that break the contract are left out, as `extract` would.

    Raises:
        NotArrivedError: events of `until` have not arrived.
        MissingDateError: a day between is missing.
    """
    from recjobs.sources.contract import event_contract
    from recjobs.sources.pinning import pin_sources
    from recjobs.sources.reading import read_blocks

    types = outcome_types(settings)
    contract = event_contract(settings.events)
    files = [file for file in pin_sources(_events_of(settings, until - after), until).events if _is_later(file, after)]
    blocks = (block.split()[0] for file in files for block in read_blocks(file, contract))
    found = [outcomes_of(block.select(USER, ITEM, EVENT_TYPE, TIMESTAMP), types, after, until) for block in blocks]
    return pl.concat([OUTCOMES.to_frame(), *found]).unique().sort(USER, ITEM)


def _events_of(settings: Settings, span: timedelta) -> Settings:
    """`settings` with no source but the events of `span`: nothing else is looked at."""
    window = settings.time.model_copy(update={"window_days": max(span.days, 2)})
    return settings.model_copy(update={"time": window, "items": None, "users": None})


def _is_later(file: SourceFile, after: date) -> bool:
    return file.day is not None and file.day > after


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
