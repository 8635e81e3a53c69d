"""Frames and tables at URIs: Arrow IPC for scratch, Parquet for artefacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import storage

COMPRESSION = "zstd"


def write_scratch(frame: pl.DataFrame, uri: str) -> None:
    """`frame` at `uri`, quickly readable."""
    with storage.writing(uri) as stream:
        frame.write_ipc(stream)


def read_scratch(uri: str) -> pl.DataFrame:
    """What `write_scratch` wrote."""
    if storage.is_remote(uri):
        return pl.read_ipc(storage.read_bytes(uri))
    return pl.read_ipc(Path(uri))


def read_scratch_folder(uri: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """All frames below the folder, one after the other in the order of their names; empty where none is."""
    frames = [read_scratch(file.uri) for file in storage.list_files(uri)]
    return pl.concat(frames) if frames else pl.DataFrame(schema=schema)


def write_table(table: pa.Table, uri: str) -> None:
    """`table` at `uri` as Parquet."""
    with storage.writing(uri) as stream:
        pq.write_table(table, stream, compression=COMPRESSION)


def write_frame(frame: pl.DataFrame, schema: pa.Schema, uri: str) -> None:
    """`frame` at `uri` as Parquet with exactly the columns and types of `schema`."""
    write_table(arrow_table(frame, schema), uri)


def arrow_table(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """`frame` as an Arrow table with exactly the columns and types of `schema`."""
    return frame.select(schema.names).to_arrow().cast(schema)


def read_columns(uri: str, columns: Sequence[str]) -> pl.DataFrame:
    """Some columns of a Parquet file of ours."""
    with storage.reading(uri) as stream:
        frame = pl.from_arrow(pq.read_table(stream, columns=list(columns)))
    assert isinstance(frame, pl.DataFrame)
    return frame
