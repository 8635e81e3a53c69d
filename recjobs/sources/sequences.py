"""Plain item sequences as input: lines `user item item …`, aligned at their ends.

A user's last item falls on the last date, the one before on the date before, and so on: splitting by
day is then leave-one-out. With the default last date, `recjobs run --date 2025-12-30` trains and
recommends without anybody's last item, which `recjobs evaluate --date 2025-12-30` judges by.

Beside the events stands one undated snapshot of the items with a text column `attributes`: what is known
of each item, as words (`a12 a53`), from a JSON object `{"item": [12, 53], …}`. Without such a file every item's
attributes are missing, and items are known by their ids alone.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

import polars as pl
import pyarrow as pa

from recjobs import columns as c
from recjobs import storage
from recjobs.errors import CorruptFileError, MissingInputError
from recjobs.sources.importing import (
    EVENTS,
    ITEMS,
    Day,
    ImportReport,
    to_table,
    write_days,
    write_parquet,
    write_report,
)

logger = logging.getLogger(__name__)

LAST_DATE = date(2025, 12, 31)
"""The date of every user's last item, unless another is given."""

INTERACTION = "interaction"
ATTRIBUTES = "attributes"
"""The items' text column; `[items] text` and `static` of the shipped config name it."""
REASONS = ("empty line", "user without an item", "user seen on an earlier line")
"""Why a line is left out."""

EVENTS_SCHEMA = pa.schema(
    [
        (c.USER, pa.string()),
        (c.ITEM, pa.string()),
        (c.EVENT_TYPE, pa.string()),
        (c.TIMESTAMP, c.TIME_TYPE),
    ]
)
ITEMS_SCHEMA = pa.schema([(c.ITEM, pa.string()), (ATTRIBUTES, pa.string())])

_ITEMS = "items"
_WORD = re.compile(r"\w+")
_BACK = "back"


def import_sequences(
    source: Path, into: str, last_date: date = LAST_DATE, attributes: Path | None = None
) -> ImportReport:
    """Writes the sequences of `source` below `into`: a partition of events per date, and one snapshot of the items.

    There are as many dates as the longest sequence has items. Every line is kept or counted under a
    reason. The snapshot lists the items of the sequences by id, with the attributes that the file
    `attributes` gives them, null without. The same sources again give the same files.

    Raises:
        MissingInputError: nothing is at `source` or `attributes`.
        CorruptFileError: `source` is no text, or no line of it is a sequence; or `attributes` is no JSON object of
            lists of whole numbers or words.
        ContractError: `into` holds partitions of something else.
    """
    started = time.perf_counter()
    lines = read_lines(source)
    kept = lines.filter(pl.col(c.REASON).is_null())
    if kept.is_empty():
        raise CorruptFileError(f"{source}: no line is `user item item …`.", file=str(source))
    events = dated(kept)
    items = item_snapshot(events[c.ITEM], read_attributes(attributes) if attributes else {})
    longest = int(events[_BACK].to_numpy().max()) + 1
    dates = tuple(last_date - timedelta(days=back) for back in reversed(range(longest)))
    logger.info("%d lines, %d dates, %.1f s", lines.height, longest, time.perf_counter() - started)
    by_day = {key[0]: frame for key, frame in events.partition_by(_BACK, as_dict=True, maintain_order=True).items()}

    def day_of(day: date) -> Day:
        return Day(day, {EVENTS: _table(by_day[(last_date - day).days], day)})

    write_days(into, dates, day_of)
    write_parquet(storage.join(into, ITEMS, c.part_name(0)), to_table(items, ITEMS_SCHEMA))
    report = _report(source, into, lines, events, items, dates)
    write_report(report)
    return report


def read_lines(source: Path) -> pl.DataFrame:
    """A row per line: user, list of items, and the reason it is left out for or null."""
    if not source.is_file():
        raise MissingInputError(f"{source}: no such file. Give a text file of lines `user item item …`.")
    try:
        text = source.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"{source}: no UTF-8 text ({error}).", file=str(source)) from error
    words = pl.col("line").str.extract_all(r"\S+")
    lines = pl.DataFrame({"line": text.splitlines()}, schema={"line": pl.String}).select(
        words.list.first().alias(c.USER), words.list.slice(1).alias(_ITEMS)
    )
    faults = (
        pl.col(c.USER).is_null(),
        pl.col(_ITEMS).list.len() == 0,
        ~pl.col(c.USER).is_first_distinct(),
    )
    reason = pl.coalesce(pl.when(fault).then(pl.lit(name)) for name, fault in zip(REASONS, faults, strict=True))
    return lines.with_columns(reason.alias(c.REASON))


def dated(lines: pl.DataFrame) -> pl.DataFrame:
    """A row per item: user, item, and how many days before the last date it falls; by user as text."""
    length = pl.col(_ITEMS).list.len().cast(pl.Int64)
    back = pl.int_ranges(length - 1, -1, -1)
    return (
        lines.select(c.USER, pl.col(_ITEMS).alias(c.ITEM), back.alias(_BACK)).explode(c.ITEM, _BACK).sort(c.USER, _BACK)
    )


def read_attributes(source: Path) -> dict[str, str]:
    """Each item's attributes as words, `a` before each id: `{"7": [12, 53]}` gives `{"7": "a12 a53"}`."""
    if not source.is_file():
        raise MissingInputError(f'{source}: no such file. Give a JSON object of lists, {{"item": [12, 53], …}}.')
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptFileError(f"{source}: no JSON ({error}).", file=str(source)) from error
    if not isinstance(content, dict):
        raise CorruptFileError(f'{source}: no JSON object of lists, {{"item": [12, 53], …}}.', file=str(source))
    return {item: _words(source, item, ids) for item, ids in content.items()}


def _words(source: Path, item: str, ids: object) -> str:
    if not isinstance(ids, list) or not all(isinstance(one, int | str) and _is_word(one) for one in ids):
        raise CorruptFileError(
            f"{source}: the attributes of item {item!r} are {ids!r}; a list of numbers or words is wanted.",
            file=str(source),
            item=item,
        )
    return " ".join(f"a{one}" for one in ids)


def _is_word(attribute: int | str) -> bool:
    return not isinstance(attribute, bool) and _WORD.fullmatch(str(attribute)) is not None


def item_snapshot(items: pl.Series, attributes: Mapping[str, str]) -> pl.DataFrame:
    """A row for each of `items` by id, with its attributes: null where none are known."""
    known = pl.DataFrame(
        {c.ITEM: list(attributes), ATTRIBUTES: list(attributes.values())},
        schema=dict.fromkeys(ITEMS_SCHEMA.names, pl.String),
    )
    told = pl.when(pl.col(ATTRIBUTES) != "").then(pl.col(ATTRIBUTES)).alias(ATTRIBUTES)
    return items.unique().sort().to_frame().join(known, on=c.ITEM, how="left", maintain_order="left").with_columns(told)


def _table(events: pl.DataFrame, day: date) -> pa.Table:
    noon = datetime.combine(day, time_of_day(12), tzinfo=UTC)
    stamped = events.with_columns(pl.lit(INTERACTION).alias(c.EVENT_TYPE), pl.lit(noon).alias(c.TIMESTAMP))
    return to_table(stamped, EVENTS_SCHEMA)


def _report(
    source: Path, into: str, lines: pl.DataFrame, events: pl.DataFrame, items: pl.DataFrame, dates: tuple[date, ...]
) -> ImportReport:
    counts = dict(lines[c.REASON].drop_nulls().value_counts().iter_rows())
    left_out = {reason: counts.get(reason, 0) for reason in REASONS}
    return ImportReport(
        importer="sequences",
        source=str(source),
        into=into,
        unit="lines",
        read=lines.height,
        kept=lines.height - sum(left_out.values()),
        left_out=left_out,
        faults=left_out,
        events=events.height,
        users=events[c.USER].n_unique(),
        items=items.height,
        dates=dates,
        notes=(
            f"every user's last item is on {dates[-1]}; the run for {dates[-1] - timedelta(days=1)} is leave-one-out",
            f"{items.height - items[ATTRIBUTES].null_count()} of {items.height} items have attributes",
        ),
    )
