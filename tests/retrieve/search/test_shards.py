from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recjobs import columns
from recjobs.errors import MissingInputError, ModelError
from recjobs.pipeline import BeamConfig
from recjobs.ragged import matrix
from recjobs.retrieve.search.index import Found, build_index, efforts, exact_top
from recjobs.retrieve.search.mixing import towers_alone
from recjobs.retrieve.search.shards import (
    EmbedTask,
    SearchTask,
    candidates_table,
    duplicate_users,
    embed_users,
    search_users,
)
from recjobs.retrieve.search.towers import TowerFacts
from recjobs.retrieve.search.vectors import list_column, read_database, write_table

ITEMS, K = 2000, 40


def task_of(folder: Path, *, scann: bool) -> SearchTask:
    """Clustered vectors of items (every tenth is unavailable) and of two parts of users, with an index."""
    random = np.random.default_rng(4)
    centres = random.normal(size=(30, 16))

    def vectors(rows: int) -> pa.ListArray:
        return list_column(
            (centres[random.integers(0, 30, rows)] + random.normal(size=(rows, 16)) / 3).astype(np.float32)
        )

    index = pa.array(range(1, ITEMS + 1), pa.int32())
    write_table(pa.table({columns.ITEM_INDEX: index, columns.VECTOR: vectors(ITEMS)}), str(folder / "vectors.parquet"))
    available = pa.array([None if number % 3 else number % 10 != 0 for number in range(ITEMS)])
    write_table(pa.table({columns.AVAILABLE: available}), str(folder / "items.parquet"))
    for shard, users in enumerate((70, 0)):
        table = pa.table(
            {columns.USER: pa.array([f"u{n}" for n in range(users)], pa.string()), columns.VECTOR: vectors(users)}
        )
        write_table(table, str(folder / "users" / columns.part_name(shard)))
    effort = None
    if scann:
        database = read_database(str(folder / "vectors.parquet"), str(folder / "items.parquet"))
        (folder / "index").mkdir()
        build_index(database, K).serialize(str(folder / "index"), relative_path=True)
        effort = efforts(ITEMS, K)[-1]
    return SearchTask(
        user_vectors=str(folder / "users"),
        item_vectors=str(folder / "vectors.parquet"),
        items=str(folder / "items.parquet"),
        index=str(folder / "index"),
        candidates=str(folder / "candidates"),
        k=K,
        effort=effort,
    )


@pytest.mark.parametrize("scann", [False, True])
def test_workers_find_every_users_best_available_items(tmp_path: Path, scann: bool) -> None:
    task = task_of(tmp_path, scann=scann)
    counts = search_users(task, [columns.part_name(0), columns.part_name(1)], BeamConfig(shards=2))
    told = {"users": 70, "candidates": 70 * K, "share/towers": 70 * K, "alone/towers": 70 * K}
    assert {name: count for name, count in counts.items() if count} == told
    table = pq.read_table(tmp_path / "candidates" / columns.part_name(0))
    database = read_database(task.item_vectors, task.items)
    assert len(database.item_index) == ITEMS - len(range(0, ITEMS, 30))
    asked = matrix(pq.read_table(tmp_path / "users" / columns.part_name(0))[columns.VECTOR])
    exact = database.item_index[exact_top(asked, database.vectors, K)[0]]
    found = table[columns.ITEM_INDEX].to_pylist()
    assert all(len(set(row)) == K for row in found)
    recall = np.mean([len(set(row) & set(best)) / K for row, best in zip(found, exact.tolist(), strict=True)])
    assert recall >= (0.98 if scann else 1.0)
    empty = pq.read_table(tmp_path / "candidates" / columns.part_name(1))
    assert (empty.num_rows, empty.schema) == (0, columns.CANDIDATE_SCHEMA)


def test_a_worker_without_its_tower_or_part_gives_up(tmp_path: Path) -> None:
    """With our own error: Beam's would be taken for a crash and tried again."""
    tower, beam = str(tmp_path / "tower"), BeamConfig(shards=2)
    task = EmbedTask(tower, str(tmp_path / "users"), str(tmp_path / "vectors"), TowerFacts(16, 8, ITEMS), now=0)
    with pytest.raises(MissingInputError, match="no such folder") as told:
        embed_users(task, [columns.part_name(0)], beam)
    assert told.value.details == {"uri": tower}
    (tmp_path / "tower").mkdir()
    (tmp_path / "tower" / "saved_model.pb").write_bytes(b"cut")
    with pytest.raises(ModelError, match="no SavedModel"):
        embed_users(task, [columns.part_name(0)], beam)
    with pytest.raises(MissingInputError) as told:
        search_users(task_of(tmp_path, scann=False), [columns.part_name(0), columns.part_name(7)], beam)
    assert told.value.details == {"uri": str(tmp_path / "users" / columns.part_name(7))}


def test_users_with_an_item_twice_are_counted() -> None:
    index = np.array([[1, 2, 3], [4, 5, 4], [6, 6, 6]], np.int32)
    assert duplicate_users(index) == 2
    mixed = towers_alone(Found(index, np.zeros((3, 3), np.float32), 0))
    table = candidates_table(pa.chunked_array([["a", "b", "c"]]), mixed)
    assert table[columns.ITEM_INDEX].to_pylist() == index.tolist()


def test_a_matrix_survives_parquet(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    write_table(pa.table({columns.VECTOR: list_column(values)}), str(tmp_path / "v.parquet"))
    assert np.array_equal(matrix(pq.read_table(tmp_path / "v.parquet")[columns.VECTOR]), values)
