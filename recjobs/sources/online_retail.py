"""UCI Online Retail as input: purchases by day, item and user snapshots derived as of each trading date.

**Cancellations** (invoices that start with `C`) are left out, and the purchase that one takes back
stays. It becomes known days or weeks after the purchase and names no line of the earlier invoice, so
taking the purchase out would write the past from the future; and a gift shop's customer who sends a
damaged cup back did want the cup.

**Products** are codes of five digits with letters behind (`85123A`, `15056BL`) and the `DCGS…` codes
of the sister shop. Everything else is postage, bank charges, manual corrections, samples, discounts,
commission, vouchers; so are three five-digit codes, which the data gives by their description:
next-day carriage, packing charge, a gift voucher. `PADS`, cushion pads at 0.001, is a correction too.

**Times** are written as London wall time and stored in UTC. The shop trades from 06:00 to 21:00, so
the date never changes.

**Items as of a date** hold what the sales until then tell, also those without a customer: `title` is
the spelling sold most often (ties: the one seen first, then alphabetical), `price` the lower median of
the unit prices so far (a price that was really asked, unmoved by a single bulk discount), `created_at`
the first sale. There is no category, and none is guessed. **Users as of a date** hold the country of
their latest purchase.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from recjobs import columns as c
from recjobs.errors import ContractError, CorruptFileError, MissingInputError
from recjobs.sources.importing import (
    EVENTS,
    ITEMS,
    USERS,
    Day,
    ImportReport,
    to_table,
    write_days,
    write_report,
)

logger = logging.getLogger(__name__)

PURCHASE = "purchase"
SOURCE_COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
_INVOICE, _CODE, _TITLE, _QUANTITY, _TIME, _PRICE, _CUSTOMER, _COUNTRY = SOURCE_COLUMNS

PRODUCT_CODE = r"^(\d{5}[A-Z]*|DCGS\w+)$"
SERVICE_CODES = ("23444", "23574", "22016")
"""Next-day carriage, packing charge, a gift voucher over 100 pounds."""
TIME_FORMATS = ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M:%S")
UNKNOWN_COUNTRY = "Unspecified"
SHOP_ZONE = "Europe/London"

REASONS = (
    "cancellation",
    "no product",
    "no customer",
    "quantity not above 0",
    "price not above 0",
    "unreadable time",
)
"""Why a row is left out, in the order in which a row with several faults is counted."""

_ORDER = "row"
_DATE = "date"

EVENTS_SCHEMA = pa.schema(
    [
        (c.USER, pa.string()),
        (c.ITEM, pa.string()),
        (c.EVENT_TYPE, pa.string()),
        (c.TIMESTAMP, c.TIME_TYPE),
        (c.VALUE, pa.float64()),
        (c.QUANTITY, pa.float64()),
        (c.COUNTRY, pa.string()),
        (c.SESSION, pa.string()),
    ]
)
ITEMS_SCHEMA = pa.schema(
    [(c.ITEM, pa.string()), (c.TITLE, pa.string()), (c.PRICE, pa.float64()), (c.CREATED_AT, c.TIME_TYPE)]
)
USERS_SCHEMA = pa.schema([(c.USER, pa.string()), (c.COUNTRY, pa.string())])


def import_online_retail(source: Path, into: str) -> ImportReport:
    """Writes `source` below `into` as events, items and users by date, and says what was left out.

    `source` is a folder of CSV files, one CSV file, or the original .xlsx. The same source again
    gives the same files; partitions that an earlier import wrote and this one doesn't are removed.

    Raises:
        MissingInputError: nothing is at `source`.
        ContractError: a column is missing, or `into` holds partitions of something else.
        CorruptFileError: a file can't be read as what its name says.
    """
    started = time.perf_counter()
    rows = judged(typed(read_rows(source)))
    logger.info("%d rows read from %s, %.1f s", rows.height, source, time.perf_counter() - started)
    kept = rows.filter(pl.col(c.REASON).is_null())
    history = ItemHistory(rows.filter(pl.col(c.REASON).is_null() | (pl.col(c.REASON) == "no customer")))
    dates = tuple(kept[_DATE].unique().sort().to_list())
    events = {key[0]: frame for key, frame in kept.partition_by(_DATE, as_dict=True, maintain_order=True).items()}
    countries = latest_countries(kept)

    def day_of(day: date) -> Day:
        return Day(
            day,
            {
                USERS: to_table(countries_as_of(countries, day), USERS_SCHEMA),
                ITEMS: to_table(history.as_of(day), ITEMS_SCHEMA),
                EVENTS: to_table(events[day], EVENTS_SCHEMA),
            },
        )

    write_days(into, dates, day_of)
    report = _report(source, into, rows, kept, dates)
    write_report(report)
    return report


def _report(source: Path, into: str, rows: pl.DataFrame, kept: pl.DataFrame, dates: tuple[date, ...]) -> ImportReport:
    counts = dict(rows[c.REASON].drop_nulls().value_counts().iter_rows())
    return ImportReport(
        importer="online-retail",
        source=str(source),
        into=into,
        unit="rows",
        read=rows.height,
        kept=kept.height,
        left_out={reason: counts.get(reason, 0) for reason in REASONS},
        faults={reason: int(rows.select(fault.sum()).item()) for reason, fault in _faults().items()},
        events=kept.height,
        users=kept[c.USER].n_unique(),
        items=kept[c.ITEM].n_unique(),
        dates=dates,
    )


# -- reading


def read_rows(source: Path) -> pl.DataFrame:
    """Every row of `source` as text, in its order; empty cells are null."""
    frames = [_read_file(file) for file in _files(source)]
    return pl.concat(frames).with_columns(pl.col(pl.String).str.strip_chars().replace("", None))


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    files = sorted(source.glob("*.csv")) or sorted(source.glob("*.xlsx"))
    if not files:
        raise MissingInputError(
            f"{source}: no such file, or a folder without .csv files. Give the folder of daily CSV files, "
            "the CSV file, or the original .xlsx.",
            source=str(source),
        )
    return files


def _read_file(file: Path) -> pl.DataFrame:
    try:
        frame = _read_workbook(file) if file.suffix.lower() == ".xlsx" else _read_csv(file)
    except (pl.exceptions.PolarsError, OSError, KeyError, ValueError) as error:
        raise CorruptFileError(f"{file}: can't be read ({error}). Fetch the file again.", file=str(file)) from error
    missing = [name for name in SOURCE_COLUMNS if name not in frame.columns]
    if missing:
        raise ContractError(
            f"{file}: no column {missing[0]!r}; it has {frame.columns}. The columns of UCI Online Retail are "
            f"{', '.join(SOURCE_COLUMNS)}.",
            file=str(file),
            column=missing[0],
        )
    return frame.select(SOURCE_COLUMNS)


def _read_csv(file: Path) -> pl.DataFrame:
    content = file.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError:
        # The file that circulates beside the workbook is in the Windows code page.
        content = content.decode("cp1252").encode()
    return pl.read_csv(io.BytesIO(content), infer_schema=False)


def _read_workbook(file: Path) -> pl.DataFrame:
    import zipfile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(file, read_only=True, data_only=True)
    except (InvalidFileException, zipfile.BadZipFile) as error:
        raise ValueError(str(error)) from error
    try:
        rows = _logged(book.worksheets[0].iter_rows(values_only=True), file)
        header = [str(name) for name in next(rows, ())]
        cells = [[_text(cell) for cell in row] for row in rows]
    finally:
        book.close()
    return pl.DataFrame(cells, schema=dict.fromkeys(header, pl.String), orient="row")


def _logged(rows: Iterator[Any], file: Path) -> Iterator[Any]:
    for number, row in enumerate(rows):
        if number and number % 100_000 == 0:
            logger.info("%d rows of %s", number, file)
        yield row


def _text(cell: Any) -> str | None:
    if cell is None:
        return None
    return cell.strftime(TIME_FORMATS[0]) if isinstance(cell, datetime) else str(cell)


# -- typing and judging


def typed(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with our columns and types; what can't be read is null."""
    written = pl.coalesce(pl.col(_TIME).str.to_datetime(form, strict=False) for form in TIME_FORMATS)
    london = written.dt.replace_time_zone(SHOP_ZONE, ambiguous="earliest", non_existent="null")
    country = pl.col(_COUNTRY)
    return rows.select(
        pl.int_range(pl.len()).alias(_ORDER),
        pl.col(_CUSTOMER).str.replace(r"\.0+$", "").alias(c.USER),
        pl.col(_CODE).str.to_uppercase().alias(c.ITEM),
        pl.lit(PURCHASE).alias(c.EVENT_TYPE),
        london.dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(c.TIMESTAMP),
        pl.col(_PRICE).cast(pl.Float64, strict=False).alias(c.VALUE),
        pl.col(_QUANTITY).cast(pl.Float64, strict=False).alias(c.QUANTITY),
        pl.when(country != UNKNOWN_COUNTRY).then(country).alias(c.COUNTRY),
        pl.col(_INVOICE).str.to_uppercase().alias(c.SESSION),
        pl.col(_TITLE).str.replace_all(r"\s+", " ").alias(c.TITLE),
    ).with_columns(pl.col(c.TIMESTAMP).dt.date().alias(_DATE))


def _faults() -> dict[str, pl.Expr]:
    product = pl.col(c.ITEM).str.contains(PRODUCT_CODE) & ~pl.col(c.ITEM).is_in(SERVICE_CODES)
    faults = (
        pl.col(c.SESSION).str.starts_with("C").fill_null(False),
        ~product.fill_null(False),
        pl.col(c.USER).is_null(),
        ~(pl.col(c.QUANTITY) > 0).fill_null(False),
        ~(pl.col(c.VALUE) > 0).fill_null(False),
        pl.col(c.TIMESTAMP).is_null(),
    )
    return dict(zip(REASONS, faults, strict=True))


def judged(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the `reason` each is left out for; null for a row that is kept."""
    reason = pl.coalesce(pl.when(fault).then(pl.lit(reason)) for reason, fault in _faults().items())
    return rows.with_columns(reason.alias(c.REASON)).sort(c.TIMESTAMP, _ORDER, nulls_last=True)


# -- snapshots as of a date


def latest_countries(kept: pl.DataFrame) -> pl.DataFrame:
    """Each user's country by date, a row where they bought: the last one of that date."""
    known = kept.filter(pl.col(c.COUNTRY).is_not_null())
    seen = known.group_by(c.USER, _DATE, maintain_order=True).agg(pl.col(c.COUNTRY).last())
    everyone = kept.select(c.USER, _DATE).unique()
    return everyone.join(seen, on=[c.USER, _DATE], how="left").sort(c.USER, _DATE)


def countries_as_of(countries: pl.DataFrame, day: date) -> pl.DataFrame:
    """The users seen until `day` with their latest known country, by user."""
    until = countries.filter(pl.col(_DATE) <= day)
    return until.group_by(c.USER).agg(pl.col(c.COUNTRY).drop_nulls().last()).sort(c.USER)


class ItemHistory:
    """What the sales until any date tell of the items sold until then."""

    def __init__(self, sales: pl.DataFrame) -> None:
        """`sales` has item, title, value, timestamp and date, in time order."""
        self._titles = _counts(sales.filter(pl.col(c.TITLE).is_not_null()), c.TITLE)
        self._prices = _counts(sales, c.VALUE)
        self._first = sales.group_by(c.ITEM).agg(pl.col(c.TIMESTAMP).min().alias(c.CREATED_AT)).sort(c.ITEM)

    def as_of(self, day: date) -> pl.DataFrame:
        """Item, title, price and first sale of every item sold until `day`, by item."""
        midnight = datetime.combine(day, time_of_day.max, tzinfo=UTC)
        sold = self._first.filter(pl.col(c.CREATED_AT) <= midnight)
        titles = _until(self._titles, day).sort(c.ITEM, "n", "first", c.TITLE, descending=[False, True, False, False])
        return sold.join(
            titles.group_by(c.ITEM, maintain_order=True).first(), on=c.ITEM, how="left", maintain_order="left"
        ).join(_lower_medians(_until(self._prices, day)), on=c.ITEM, how="left", maintain_order="left")


def _counts(sales: pl.DataFrame, column: str) -> pl.DataFrame:
    """How often each item had each value of `column` on each date, and the time it first did."""
    return sales.group_by(c.ITEM, column, _DATE).agg(pl.len().alias("n"), pl.col(c.TIMESTAMP).min().alias("first"))


def _until(counts: pl.DataFrame, day: date) -> pl.DataFrame:
    values = [name for name in (c.TITLE, c.VALUE) if name in counts.columns]
    return counts.filter(pl.col(_DATE) <= day).group_by(c.ITEM, *values).agg(pl.col("n").sum(), pl.col("first").min())


def _lower_medians(prices: pl.DataFrame) -> pl.DataFrame:
    """The lower median of each item's prices, each counted `n` times."""
    ordered = prices.sort(c.ITEM, c.VALUE).with_columns(
        below=pl.col("n").cum_sum().over(c.ITEM), total=pl.col("n").sum().over(c.ITEM)
    )
    reached = ordered.filter(2 * pl.col("below") >= pl.col("total"))
    return reached.group_by(c.ITEM, maintain_order=True).agg(pl.col(c.VALUE).first().alias(c.PRICE))
