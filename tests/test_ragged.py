"""Lists as flat arrays and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recjobs.ragged import flat_lists, list_array, places, places_in_runs, rows_of

lists = st.lists(st.lists(st.integers(-5, 5), max_size=4), max_size=6)


@given(lists)
def test_there_and_back(rows: list[list[int]]) -> None:
    column = pa.chunked_array([pa.array(rows[:2], pa.list_(pa.int32())), pa.array(rows[2:], pa.list_(pa.int32()))])
    values, lengths = flat_lists(column)
    assert list_array(pa.array(values), lengths).to_pylist() == rows
    owners, order = rows_of(lengths), places(lengths)
    assert [rows[row][place] for row, place in zip(owners, order, strict=True)] == values.tolist()
    assert places_in_runs(owners).tolist() == order.tolist()


@given(lists, st.integers(0, 6), st.integers(0, 6))
def test_a_slice_has_its_own_values(rows: list[list[int]], start: int, length: int) -> None:
    values, lengths = flat_lists(pa.table({"x": pa.array(rows, pa.list_(pa.int64()))}).slice(start, length)["x"])
    part = rows[start : start + length]
    assert lengths.tolist() == [len(row) for row in part]
    assert values.tolist() == [value for row in part for value in row]


def test_a_null_list_is_empty() -> None:
    values, lengths = flat_lists(pa.array([[1], None, [2, 3]]))
    assert (values.tolist(), lengths.tolist()) == ([1, 2, 3], [1, 0, 2])
    assert places_in_runs(np.empty(0, np.int32)).tolist() == []
