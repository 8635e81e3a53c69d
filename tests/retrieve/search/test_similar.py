from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recjobs import columns
from recjobs.retrieve.search.index import Database
from recjobs.retrieve.search.similar import similar_table, unit


def items(count: int) -> pa.Table:
    index = pa.array(range(1, count + 1), pa.int32())
    return pa.table({columns.ITEM_INDEX: index, columns.ITEM: [f"i{number}" for number in range(count)]})


def test_each_item_has_its_nearest_by_cosine_without_itself() -> None:
    vectors = np.random.default_rng(2).normal(size=(30, 4)).astype(np.float32)
    database = Database(np.arange(1, 31, dtype=np.int32), vectors)
    table = similar_table(items(30), vectors, database, 6, exact_below=1000, recall_floor=0.98)
    assert table.schema == columns.SIMILAR_SCHEMA
    cosine = unit(vectors) @ unit(vectors).T
    np.fill_diagonal(cosine, -9)
    assert table[columns.SIMILAR_INDEX].to_pylist() == (np.argsort(-cosine, axis=1)[:, :6] + 1).tolist()
    assert np.array(table[columns.SCORE].to_pylist()) == pytest.approx(-np.sort(-cosine, axis=1)[:, :6], abs=1e-5)


def test_an_unavailable_item_has_similar_ones_and_is_proposed_to_none() -> None:
    vectors = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
    database = Database(np.array([1, 2, 4, 6], np.int32), vectors[[0, 1, 3, 5]])
    lists = similar_table(items(6), vectors, database, 50, exact_below=1000, recall_floor=0.98)[
        columns.SIMILAR_INDEX
    ].to_pylist()
    assert [len(row) for row in lists] == [3] * 6
    assert all(own not in row and not {3, 5} & set(row) for own, row in enumerate(lists, start=1))


def test_equal_items_do_not_push_an_item_into_its_own_list() -> None:
    vectors = np.ones((8, 4), np.float32)
    lists = similar_table(
        items(8), vectors, Database(np.arange(1, 9, dtype=np.int32), vectors), 3, exact_below=1000, recall_floor=0.98
    )
    for own, row in enumerate(lists[columns.SIMILAR_INDEX].to_pylist(), start=1):
        assert own not in row
        assert len(set(row)) == 3


def test_a_single_item_has_no_similar_ones() -> None:
    vectors = np.ones((1, 4), np.float32)
    table = similar_table(
        items(1), vectors, Database(np.array([1], np.int32), vectors), 3, exact_below=1000, recall_floor=0.98
    )
    assert table[columns.SIMILAR_INDEX].to_pylist() == [[]]


def test_a_large_catalogue_is_searched_through_an_index_that_reaches_the_floor() -> None:
    vectors = np.random.default_rng(2).normal(size=(1500, 8)).astype(np.float32)
    database = Database(np.arange(1, 1501, dtype=np.int32), vectors)
    near, exact = (
        similar_table(items(1500), vectors, database, 20, exact_below=below, recall_floor=0.98)[columns.SIMILAR_INDEX]
        for below in (0, 2000)
    )
    found = [len(set(a) & set(b)) / 20 for a, b in zip(near.to_pylist(), exact.to_pylist(), strict=True)]
    assert np.mean(found) > 0.97
