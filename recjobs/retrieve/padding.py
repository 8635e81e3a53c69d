"""Lists of different lengths as one matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl


def right_padded(lists: pl.Series, dtype: Any) -> npt.NDArray[Any]:
    """A column of lists as a matrix of `dtype` [rows, longest list], 0 after each list's end; null is empty."""
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    padded = np.zeros((len(lengths), int(lengths.max(initial=0))), dtype)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = lists.explode().drop_nulls().to_numpy()
    return padded
