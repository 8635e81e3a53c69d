"""What importers share: partitions by date in the input contract's layout, and the report of an import.

The layout is `{into}/{kind}/date=YYYY-MM-DD/part-00000.parquet` for the kinds `events`, `items` and
`users`. A partition is one file that appears whole. A day's events are written after its snapshots,
so that a day with events has its snapshots too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from recjobs import columns as c
from recjobs import storage
from recjobs.errors import ContractError

EVENTS, ITEMS, USERS = "events", "items", "users"
REPORT_NAME = "import-report.json"
PROGRESS_EVERY = 50

logger = logging.getLogger(__name__)


class ImportReport(BaseModel):
    """What an import read, kept and left out. `kept` and the values of `left_out` add up to `read`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    importer: str
    source: str
    into: str
    unit: str
    """What is counted: rows, or lines."""
    read: int
    kept: int
    left_out: dict[str, int]
    """Left out by reason; one with several faults counts under the first that stands here."""
    faults: dict[str, int]
    """How many have each fault, alone or with others."""
    events: int
    users: int
    items: int
    dates: tuple[date, ...]
    """The days with events, ascending."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Day:
    """One date's partitions by kind."""

    date: date
    tables: Mapping[str, pa.Table]


def partition_uri(into: str, kind: str, day: date) -> str:
    """The file of `kind` for `day`."""
    return storage.join(into, kind, f"date={day.isoformat()}", c.part_name(0))


def write_parquet(uri: str, table: pa.Table) -> None:
    """`table` at `uri`, whole; equal tables give equal bytes."""
    with storage.writing(uri) as stream:
        pq.write_table(table, stream, compression="zstd")


def to_table(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` from `frame`, with its types."""
    return frame.select(schema.names).to_arrow().cast(schema)


def check_target(into: str, days: Iterable[date]) -> list[str]:
    """The partitions of an earlier import into `into` that this one, with `days`, doesn't write.

    Raises:
        ContractError: `into` has partitions that no finished import accounts for.
    """
    wanted = {f"date={day.isoformat()}" for day in days}
    stale = [
        storage.join(into, kind, folder)
        for kind in (EVENTS, ITEMS, USERS)
        for folder in storage.list_folders(storage.join(into, kind))
        if folder not in wanted
    ]
    if stale and not _is_import(into):
        raise ContractError(
            f"{into} has partitions that no import wrote ({stale[0]} and {len(stale) - 1} more). "
            "Import into an empty folder, or delete this one first.",
            into=into,
        )
    return stale


def _is_import(into: str) -> bool:
    uri = storage.join(into, REPORT_NAME)
    if not storage.exists(uri):
        return False
    try:
        ImportReport.model_validate_json(storage.read_bytes(uri))
    except ValidationError:
        return False
    return True


def write_days(into: str, dates: tuple[date, ...], day_of: Callable[[date], Day]) -> None:
    """Writes the partitions of `dates` in order, and removes those of an earlier import that are no more."""
    started = time.perf_counter()
    stale = check_target(into, dates)
    for number, day in enumerate(dates, start=1):
        tables = day_of(day).tables
        for kind in (USERS, ITEMS, EVENTS):
            if kind in tables:
                write_parquet(partition_uri(into, kind, day), tables[kind])
        if number % PROGRESS_EVERY == 0 or number == len(dates):
            logger.info("%d of %d days written, %.1f s", number, len(dates), time.perf_counter() - started)
    for folder in stale:
        storage.delete_folder(folder)
    if stale:
        logger.info("%d partitions of an earlier import removed", len(stale))


def write_report(report: ImportReport) -> None:
    """`report` as `import-report.json` beside the partitions, written last."""
    storage.write_bytes(storage.join(report.into, REPORT_NAME), report.model_dump_json(indent=2).encode())
