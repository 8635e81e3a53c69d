"""Lists of different lengths as flat NumPy arrays: what list columns become inside a shard."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]


def flat_lists(column: pa.ChunkedArray | pa.Array) -> tuple[npt.NDArray[Any], Ints]:
    """A list column's values, one after the other, and the length of each row's list.

    A null list has length 0. Values must not be null.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return array.flatten().to_numpy(zero_copy_only=False), lengths.astype(np.int64)


def matrix(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A list column of equally long lists, vectors say, as [rows, D]; [0, 0] without rows."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    flat: npt.NDArray[Any] = whole.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(whole), -1) if len(whole) else flat.reshape(0, 0)


def rows_of(lengths: Ints) -> npt.NDArray[np.int32]:
    """The row of each value: 0 `lengths[0]` times, 1 `lengths[1]` times, …"""
    return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


def places(lengths: Ints) -> Ints:
    """The place of each value in its own list: 0 … `lengths[0]` - 1, 0 … `lengths[1]` - 1, …"""
    starts = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum()), dtype=np.int64) - np.repeat(starts, lengths)


def places_in_runs(rows: npt.NDArray[Any]) -> Ints:
    """The place of each value among those of its row, where `rows` has equal rows next to each other."""
    if len(rows) == 0:
        return np.empty(0, np.int64)
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    return np.arange(len(rows), dtype=np.int64) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))


def list_array(values: pa.Array, lengths: Ints) -> pa.Array:
    """The inverse of `flat_lists`: a list column with `lengths[i]` values in row i."""
    offsets = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
