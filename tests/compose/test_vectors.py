"""Item vectors of length 1, and clusters that are those that were planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from recjobs import columns
from recjobs.compose.clusters import clustered, load_clusters, write_clusters
from recjobs.compose.vectors import load_vectors
from tests.compose.planted_candidates import write_table


def test_vectors_stand_at_their_index_with_length_one(tmp_path: Path) -> None:
    uri = str(tmp_path / "vectors.parquet")
    rows = pl.DataFrame(
        {columns.ITEM_INDEX: [3, 1], columns.VECTOR: [[3.0, 4.0], [0.0, 0.0]]},
        schema={columns.ITEM_INDEX: pl.Int32, columns.VECTOR: pl.List(pl.Float32)},
    )
    write_table(rows.to_arrow(), uri)
    assert np.allclose(load_vectors(uri, 3), [[0, 0], [0, 0], [0, 0], [0.6, 0.8]])


def test_planted_groups_are_found_and_the_same_seed_finds_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    group = random.integers(0, 4, 300)
    vectors = np.eye(4, 8)[group] + 0.1 * random.normal(size=(300, 8))
    vectors = np.r_[np.zeros((1, 8)), vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.zeros((1, 8))]
    found = clustered(vectors.astype(np.float32), 4, seed=17)
    assert found[0] == found[-1] == 0
    pairs = set(zip(group.tolist(), found[1:-1].tolist(), strict=True))
    assert len(pairs) == len({cluster for _, cluster in pairs}) == 4
    assert np.array_equal(clustered(vectors.astype(np.float32), 4, seed=17), found)
    uri = str(tmp_path / "clusters.parquet")
    write_clusters(found, uri)
    assert np.array_equal(load_clusters(uri), found)


def test_fewer_items_than_clusters_are_no_fault() -> None:
    found = clustered(np.array([[0, 0], [1, 0], [0, 1], [1, 0]], np.float32), 50, seed=1).tolist()
    assert found[0] == 0
    assert found[1] == found[3]
    assert {found[1], found[2]} == {1, 2}
    assert clustered(np.zeros((3, 2), np.float32), 5, seed=1).tolist() == [0, 0, 0]
