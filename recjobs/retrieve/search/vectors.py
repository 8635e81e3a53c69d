"""Vectors in Parquet: float32[rows, D] to a list column and back, without a Python object per number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.ragged import matrix
from recjobs.retrieve.search.index import Database


def list_column(values: npt.NDArray[np.generic]) -> pa.ListArray:
    """A list per row of a matrix; `ragged.matrix` is its inverse."""
    rows, width = values.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).reshape(-1)))


def read_table(uri: str, names: list[str] | None = None) -> pa.Table:
    """The Parquet file at `uri`, whole."""
    with storage.reading(uri) as stream:
        return pq.read_table(stream, columns=names)


def write_table(table: pa.Table, uri: str) -> None:
    """`table` as the Parquet file `uri`; numbers that hardly repeat are neither encoded nor compressed."""
    with storage.writing(uri) as stream:
        pq.write_table(table, stream, compression="none", use_dictionary=[columns.USER, columns.ITEM])


def read_database(vectors_uri: str, items_uri: str) -> Database:
    """The vectors of the items that may be recommended: those not known to be unavailable."""
    table = read_table(vectors_uri, [columns.ITEM_INDEX, columns.VECTOR])
    available = read_table(items_uri, [columns.AVAILABLE])[columns.AVAILABLE].fill_null(True)
    chosen = np.flatnonzero(available.to_numpy(zero_copy_only=False))
    index = table[columns.ITEM_INDEX].to_numpy()[chosen]
    return Database(index, np.ascontiguousarray(matrix(table[columns.VECTOR])[chosen]))
