"""Users' rows in Parquet files and in the Arrow files that a stage keeps while it works."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns as c
from recjobs import storage
from recjobs.tombstones import Forgotten, names_forgotten

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """What a Parquet file holds of forgotten users."""

    count: int
    elements: int
    """Places in their lists of scores, where the file has such a column."""
    cold: int
    """Rows of the cold regime, where the file has that column."""
    index: dict[str, int]
    """By user: the `user_index`, where the file has that column."""
    quarantined: tuple[tuple[str, int, str], ...] = ()
    """File, line and reason of quarantined rows."""


def rows_in_parquet(uri: str, forgotten: Forgotten, user_columns: Sequence[str] = (c.USER,)) -> Rows | None:
    """What the file holds of forgotten users; None when nothing.

    `user_columns` are what sources call users, for the quarantine, which keeps rows as they came.
    """
    with storage.reading(uri) as stream:
        parquet = pq.ParquetFile(stream)
        if not _may_hold(parquet, forgotten):
            return None
        names = set(parquet.schema_arrow.names)
        wanted = [name for name in (c.USER, c.USER_INDEX, c.REGIME, *c.QUARANTINE_SCHEMA.names) if name in names]
        found = [
            table.filter(pa.array(mask))
            for group in range(parquet.num_row_groups)
            for table in [parquet.read_row_group(group, columns=wanted)]
            if (mask := _mask(table, forgotten, user_columns)).any()
        ]
        if not found:
            return None
        scores = _elements(parquet, forgotten) if c.SCORE in names else 0
    return _told(pa.concat_tables(found), scores)


def rewrite_parquet(uri: str, target: str, forgotten: Forgotten, user_columns: Sequence[str] = (c.USER,)) -> None:
    """The file at `target` without forgotten users; columns, types, compression and row groups stay."""
    with storage.reading(uri) as stream, storage.writing(target) as out:
        parquet = pq.ParquetFile(stream)
        with pq.ParquetWriter(out, parquet.schema_arrow, **_layout(parquet)) as writer:
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group)
                writer.write_table(table.filter(pa.array(~_mask(table, forgotten, user_columns))))


def rewrite_arrow(uri: str, target: str, forgotten: Forgotten) -> int:
    """The Arrow file at `target` without forgotten users, where it has some; returns how many rows went."""
    with storage.reading(uri) as stream:
        frame = pl.read_ipc(stream.read())
    if c.USER not in frame.columns:
        return 0
    gone = forgotten.rows(frame[c.USER].to_arrow())
    if gone.any():
        with storage.writing(target) as out:
            frame.filter(pl.Series(~gone)).write_ipc(out)
    return int(gone.sum())


def is_quarantine(names: list[str]) -> bool:
    """Whether these are the columns of the quarantine."""
    return names == list(c.QUARANTINE_SCHEMA.names)


def _mask(table: pa.Table, forgotten: Forgotten, user_columns: Sequence[str]) -> Mask:
    if is_quarantine(table.column_names):
        rows = table[c.ROW].to_pylist()
        return np.fromiter((names_forgotten(row, forgotten, user_columns) for row in rows), np.bool_, len(rows))
    return forgotten.rows(table[c.USER])


def _may_hold(parquet: pq.ParquetFile, forgotten: Forgotten) -> bool:
    """False where columns or the footer's smallest and largest ids say so."""
    names = parquet.schema_arrow.names
    if is_quarantine(names):
        return True
    if c.USER not in names:
        return False
    if not forgotten.known:
        return True
    return any(_within(bounds, forgotten.known) for bounds in _bounds(parquet))


def _bounds(parquet: pq.ParquetFile) -> Iterator[tuple[str, str] | None]:
    metadata = parquet.metadata
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for place in range(row_group.num_columns):
            column = row_group.column(place)
            if column.path_in_schema == c.USER:
                statistics = column.statistics
                known = statistics is not None and statistics.has_min_max
                yield (statistics.min, statistics.max) if known else None


def _within(bounds: tuple[str, str] | None, users: frozenset[str]) -> bool:
    if bounds is None:
        return True
    low, high = (bound if isinstance(bound, bytes) else bound.encode() for bound in bounds)
    return any(low <= user.encode() <= high for user in users)


def _elements(parquet: pq.ParquetFile, forgotten: Forgotten) -> int:
    count = 0
    for group in range(parquet.num_row_groups):
        table = parquet.read_row_group(group, columns=[c.USER, c.SCORE])
        kind = table.schema.field(c.SCORE).type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            count += len(table.filter(pa.array(forgotten.rows(table[c.USER])))[c.SCORE].combine_chunks().flatten())
    return count


def _told(rows: pa.Table, elements: int) -> Rows:
    frame = pl.DataFrame(pl.from_arrow(rows))
    names = set(frame.columns)
    users = frame[c.USER].cast(pl.String).to_list() if c.USER in names else []
    quarantined = frame.select(c.FILE, c.LINE, c.REASON).rows() if is_quarantine(frame.columns) else []
    return Rows(
        count=frame.height,
        elements=elements,
        cold=int((frame[c.REGIME] == c.COLD).sum()) if c.REGIME in names else 0,
        index=dict(zip(users, frame[c.USER_INDEX].to_list(), strict=True)) if c.USER_INDEX in names else {},
        quarantined=tuple(quarantined),
    )


def _layout(parquet: pq.ParquetFile) -> dict[str, object]:
    """Compression and dictionaries by column, as the file has them."""
    if not parquet.num_row_groups:
        return {"compression": "zstd"}
    group = parquet.metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    dictionaries = [column.path_in_schema for column in columns if column.has_dictionary_page]
    codecs = {column.path_in_schema: column.compression.lower() for column in columns}
    return {
        "compression": {path: "none" if codec == "uncompressed" else codec for path, codec in codecs.items()},
        "use_dictionary": dictionaries or False,
    }
