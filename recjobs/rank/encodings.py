"""How raw values become dense or sparse features: hashes, buckets, ages. The same on every date and machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs.shards import shard_of

SECONDS_PER_DAY = 86_400
_PER_SECOND = {"ms": 1e3, "us": 1e6, "ns": 1e9}
COUNT_BUCKETS = 20
"""Table size of a bucketed count: unknown, then powers of two."""


def hashed(values: pl.Series, size: int) -> npt.NDArray[np.int32]:
    """Each text's bucket in [1, size), 0 for null: by the text itself, so it outlives any vocabulary."""
    text = values.cast(pl.String)
    buckets = shard_of(text.fill_null("").to_arrow(), size - 1) + 1
    buckets[text.is_null().to_numpy()] = 0
    return buckets.astype(np.int32)


def local_codes(values: pl.Series) -> tuple[npt.NDArray[np.int64], int]:
    """Codes 1… of the distinct texts (0 for null), good only within one table, and the number of codes with 0."""
    codes = values.cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)
    return codes, int(codes.max(initial=0)) + 1


def count_bucket(counts: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """1 for 0, 2 for 1, 3 for 2–3, 4 for 4–7, …, at most COUNT_BUCKETS - 1."""
    # frexp's exponent of an integer n ≥ 1 is floor(log2 n) + 1, and 0 for n = 0.
    exponent = np.frexp(np.asarray(counts, np.float32))[1]
    buckets: npt.NDArray[np.int32] = np.minimum(exponent + 1, COUNT_BUCKETS - 1).astype(np.int32)
    return buckets


def days_before(now: int, column: pl.Series) -> npt.NDArray[np.float32]:
    """Days from each timestamp to the Unix second `now`, at least 0; NaN where there is none."""
    # Casts are done at once; `dt.epoch` would plan a query, which costs more than a piece's few hundred values.
    dtype = column.dtype
    assert isinstance(dtype, pl.Datetime)
    seconds = np.floor(column.cast(pl.Int64).cast(pl.Float64).to_numpy() / _PER_SECOND[dtype.time_unit])
    return np.maximum((now - seconds) / SECONDS_PER_DAY, 0.0).astype(np.float32)


def freshness(days: npt.NDArray[np.floating], scale: float) -> npt.NDArray[np.float32]:
    """1 / (1 + days / scale): 1 for just now, 0 for NaN (never)."""
    fresh: npt.NDArray[np.float32] = np.nan_to_num(1.0 / (1.0 + days / scale), nan=0.0).astype(np.float32)
    return fresh


def numbers(column: pl.Series) -> npt.NDArray[np.float32]:
    """A numeric column as float32; null is NaN."""
    return column.cast(pl.Float32).to_numpy().astype(np.float32, copy=False)
