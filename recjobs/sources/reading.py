"""Reads one source file in typed blocks; rows that break the contract come with a reason.

A bad cell makes its row bad. A bad column (missing, or of a type that can't be meant) or a file
that can't be read raises: no row of it could be trusted.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from recjobs import columns as c
from recjobs import storage
from recjobs.errors import ContractError, CorruptFileError, MissingInputError
from recjobs.manifest import SourceFile
from recjobs.sources.casting import EXPECTED, NOUNS, cast_cells, castable
from recjobs.sources.contract import DTYPES, Contract

PARQUET_BLOCK_ROWS = 1 << 18
CSV_BLOCK_BYTES = 1 << 24

_QUARANTINE_DTYPES = {c.FILE: pl.String, c.LINE: pl.Int64, c.REASON: pl.String, c.ROW: pl.String}


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a file. `typed`, `raw`, `lines` and `reasons` have a row each.

    `typed` has every column of the contract with its type, `raw` the cells as they stand in the
    file. `lines` counts CSV records from the header, which is line 1 (blank lines aside), and
    Parquet rows from 1. `reasons` is null for a good row. `malformed` are quarantined rows that
    could not even be cut into cells.
    """

    file: str
    typed: pl.DataFrame
    raw: pl.DataFrame
    lines: pl.Series
    reasons: pl.Series
    malformed: pl.DataFrame

    @property
    def rows_read(self) -> int:
        """Rows of the file that this block stands for, bad ones included."""
        return self.typed.height + self.malformed.height

    def split(self, checks: Sequence[tuple[pl.Expr, str]] = ()) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Good rows, and the quarantine of the others.

        A row is also bad when the condition of one of `checks` is true, for that check's reason; the
        first reason counts.
        """
        further = [pl.when(condition).then(pl.lit(reason)) for condition, reason in checks]
        reasons = self.typed.with_columns(self.reasons.alias(c.REASON)).select(pl.coalesce(c.REASON, *further))
        reason = reasons.to_series()
        bad = reason.is_not_null()
        if not bad.any():
            return self.typed, self.malformed
        return self.typed.filter(~bad), pl.concat([self.malformed, self._quarantined(bad, reason)])

    def _quarantined(self, bad: pl.Series, reason: pl.Series) -> pl.DataFrame:
        rows = [_as_json(row) for row in self.raw.filter(bad).to_dicts()]
        return quarantine_frame(self.file, self.lines.filter(bad), reason.filter(bad), rows)


def quarantine_frame(
    file: str, lines: Sequence[int] | pl.Series, reasons: Sequence[str] | pl.Series, rows: Sequence[str]
) -> pl.DataFrame:
    """Quarantined rows of one file, in the columns of `columns.QUARANTINE_SCHEMA`."""
    data = {c.FILE: [file] * len(rows), c.LINE: lines, c.REASON: reasons, c.ROW: rows}
    return pl.DataFrame(data, schema=_QUARANTINE_DTYPES)


def read_blocks(file: SourceFile, contract: Contract) -> Iterator[Block]:
    """The rows of `file` in blocks, in the file's order.

    Raises:
        ContractError: an expected column is missing, stands twice, or has a hopeless type.
        CorruptFileError: the file can't be read as what it is said to be.
        MissingInputError: the file is gone, or is no longer the one that was pinned.
    """
    _require_pinned(file)
    read = _read_parquet if contract.format == "parquet" else _read_csv
    with storage.reading(file.uri) as stream, _corruption_told(file.uri, contract.format):
        yield from read(stream, file.uri, contract)


def _require_pinned(file: SourceFile) -> None:
    found = storage.digest(file.uri)
    if found != file.digest:
        raise MissingInputError(
            f"{file.uri} has changed since the run was planned (digest {found}, planned {file.digest}). "
            "Plan the run again to read the new content.",
            file=file.uri,
        )


@contextlib.contextmanager
def _corruption_told(uri: str, form: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptFileError(
            f"{uri} can't be read as {form}: {cause}. Deliver the file again, whole; or if it is no {form} file, "
            "correct `format` in its settings section.",
            file=uri,
        ) from error


# -- Parquet


def _read_parquet(stream: IO[bytes], uri: str, contract: Contract) -> Iterator[Block]:
    parquet = pq.ParquetFile(stream)
    schema = parquet.schema_arrow
    _require_columns(schema.names, uri, contract)
    for column in contract.columns:
        index = schema.get_field_index(column.source)
        if index >= 0 and not castable(column.kind, schema.field(index).type):
            raise ContractError(
                f"column {column.source!r} of {uri} is {schema.field(index).type}; [{contract.section}] needs "
                f"{EXPECTED[column.kind]} for {column.name}. Write the column so, or name another one in "
                f"[{contract.section}.columns].",
                file=uri,
                column=column.source,
            )
    wanted = [column.source for column in contract.columns if column.source in schema.names]
    line = 1
    for batch in parquet.iter_batches(PARQUET_BLOCK_ROWS, columns=sorted(set(wanted))):
        raw = _as_polars(pa.Table.from_batches([batch]))
        yield _block(
            uri, contract, raw, pl.int_range(line, line + raw.height, eager=True), quarantine_frame(uri, [], [], [])
        )
        line += raw.height


def _as_polars(table: pa.Table) -> pl.DataFrame:
    """Arrow to polars, with times in UTC: polars knows no fixed-offset zones."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(field.type.value_type))
        elif pa.types.is_timestamp(field.type) or pa.types.is_date(field.type):
            table = table.set_column(index, field.name, _in_utc(table.column(index)))
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _in_utc(times: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_date(times.type):
        times = times.cast(pa.timestamp("ms"))
    return times.cast(c.TIME_TYPE, safe=False)


# -- CSV


def _read_csv(stream: IO[bytes], uri: str, contract: Contract) -> Iterator[Block]:
    names = _header(stream, uri)
    _require_columns(names, uri, contract)
    if not stream.read(1):
        return
    stream.seek(0)
    malformed: list[pa_csv.InvalidRow] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        malformed.append(row)
        return "skip"

    told = kept = 0
    for batch in _csv_reader(stream, names, skip):
        # The reader runs ahead: rows after this block may be told with it.
        fresh, told = malformed[told:], len(malformed)
        lines = _line_numbers(kept, batch.num_rows, [row.number for row in malformed])
        kept += batch.num_rows
        raw, undecodable = _decoded(batch)
        yield _block(uri, contract, raw, lines, _malformed_rows(uri, fresh), undecodable)
    if len(malformed) > told:
        nothing = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
        rest = _malformed_rows(uri, malformed[told:])
        yield _block(uri, contract, nothing, pl.Series([], dtype=pl.Int64), rest)


def _csv_reader(
    stream: IO[bytes], names: Sequence[str], skip: Callable[[pa_csv.InvalidRow], str]
) -> pa_csv.CSVStreamingReader:
    """Cells come as bytes, so that one which is not UTF-8 spoils its row and not the file.

    On one thread: only then do malformed rows come with their number.
    """
    return pa_csv.open_csv(
        stream,
        pa_csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK_BYTES),
        pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), null_values=[""], strings_can_be_null=True
        ),
    )


def _header(stream: IO[bytes], uri: str) -> list[str]:
    try:
        line = stream.readline().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"{uri} is not UTF-8 text. Deliver it as UTF-8 CSV.", file=uri) from error
    if not line.strip():
        raise CorruptFileError(
            f"{uri} has no header line. Deliver the file again; a day without events has the header alone.", file=uri
        )
    return next(csv.reader([line]))


def _line_numbers(first: int, rows: int, malformed: Sequence[int]) -> pl.Series:
    """Line numbers of the well-formed rows `first … first + rows - 1`, between the malformed ones."""
    kept = np.arange(first, first + rows)
    # How many well-formed rows stand before each malformed one (the first row is line 2).
    before = np.asarray(malformed, np.int64) - 2 - np.arange(len(malformed))
    return pl.Series(kept + 2 + np.searchsorted(before, kept, side="right"), dtype=pl.Int64)


def _malformed_rows(uri: str, rows: Sequence[pa_csv.InvalidRow]) -> pl.DataFrame:
    reasons = [f"{row.actual_columns} cells where the header has {row.expected_columns}" for row in rows]
    return quarantine_frame(uri, [row.number for row in rows], reasons, [_as_json(row.text) for row in rows])


def _decoded(batch: pa.RecordBatch) -> tuple[pl.DataFrame, pl.Series]:
    """The cells as text, and a mask of the rows that are not UTF-8 (their bad bytes replaced)."""
    try:
        frame = pl.from_arrow(batch.cast(pa.schema([(name, pa.string()) for name in batch.schema.names])))
        assert isinstance(frame, pl.DataFrame)
        return frame, pl.repeat(value=False, n=frame.height, eager=True, dtype=pl.Boolean)
    except pa.ArrowInvalid:
        cells = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        texts = {
            name: [None if v is None else v.decode(errors="replace") for v in column] for name, column in cells.items()
        }
        bad = [any(v is not None and not _is_utf8(v) for v in row) for row in zip(*cells.values(), strict=True)]
        return pl.DataFrame(texts, schema=dict.fromkeys(texts, pl.String)), pl.Series(bad, dtype=pl.Boolean)


def _replaced(cell: bytes | None) -> str | None:
    return None if cell is None else cell.decode(errors="replace")


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


# -- both


def _require_columns(names: Sequence[str], uri: str, contract: Contract) -> None:
    for column in contract.columns:
        if column.expected and column.source not in names:
            raise ContractError(
                f"{uri} has no column {column.source!r}, which [{contract.section}] needs for {column.name}; it has "
                f"{sorted(set(names))}. Add the column, or name the right one in [{contract.section}.columns].",
                file=uri,
                column=column.source,
            )
        if names.count(column.source) > 1:
            raise ContractError(
                f"{uri} has column {column.source!r} {names.count(column.source)} times. Keep one of them.",
                file=uri,
                column=column.source,
            )


def _block(
    uri: str,
    contract: Contract,
    raw: pl.DataFrame,
    lines: pl.Series,
    malformed: pl.DataFrame,
    undecodable: pl.Series | None = None,
) -> Block:
    """Casts the cells; a row's first fault, in the order of the contract's columns, is its reason."""
    typed: dict[str, pl.Series] = {}
    faults: list[tuple[pl.Series, str]] = [] if undecodable is None else [(undecodable, "text is not UTF-8")]
    for column in contract.columns:
        if column.source not in raw.columns:
            typed[column.name] = pl.Series(column.name, [None], dtype=DTYPES[column.kind]).new_from_index(0, raw.height)
            continue
        cast, bad = cast_cells(raw[column.source], column.kind)
        typed[column.name] = cast.alias(column.name)
        faults.append((bad, f"{column.name} is no {NOUNS[column.kind]}"))
        if column.required:
            faults.append((cast.is_null(), f"{column.name} is missing"))
    return Block(uri, pl.DataFrame(typed), raw, lines, _first_reason(faults, raw.height), malformed)


def _first_reason(faults: Sequence[tuple[pl.Series, str]], rows: int) -> pl.Series:
    seen = [(mask, reason) for mask, reason in faults if mask.any()]
    if not seen:
        return pl.Series([None], dtype=pl.String).new_from_index(0, rows)
    return pl.select(pl.coalesce([pl.when(mask).then(pl.lit(reason)) for mask, reason in seen])).to_series()


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
