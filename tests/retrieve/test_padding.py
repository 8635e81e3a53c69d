from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recjobs.retrieve.padding import right_padded

LISTS = st.lists(st.none() | st.lists(st.integers(1, 99), max_size=6), max_size=8)


@given(LISTS)
def test_each_row_is_its_list_then_zeros(lists: list[list[int] | None]) -> None:
    padded = right_padded(pl.Series(lists, dtype=pl.List(pl.Int32)), np.int32)
    assert padded.dtype == np.int32
    for row, values in zip(padded.tolist(), lists, strict=True):
        known = values or []
        assert row == known + [0] * (padded.shape[1] - len(known))
