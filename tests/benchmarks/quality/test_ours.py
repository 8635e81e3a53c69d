"""Our lists read from artefacts as the stages write them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.quality.ours import candidate_lists, finished_lists, packed, tower_lists
from benchmarks.quality.problem import Problem
from recjobs import columns as c
from recjobs.manifest import Manifest, cutoffs_of
from tests.benchmarks.quality.problems import problem_of

DS = date(2026, 1, 1)
INT32, FLOAT32 = pl.List(pl.Int32), pl.List(pl.Float32)


@pytest.fixture
def problem() -> Problem:
    return problem_of([(0, 2, 5)], users=3, items=4, eligible=[True, True, True, False])


def manifest_of(folder: Path) -> Manifest:
    cutoffs = cutoffs_of(DS, train_lag_days=0, history_lag_days=0, label_days=1)
    return Manifest(stage="retrieve/search", ds=DS, run="r", attempt="a", folder=str(folder), cutoffs=cutoffs)


def write_parts(folder: Path, frame: pl.DataFrame, rows: int) -> None:
    """The first `rows` rows in one part, an empty part, the others in a third."""
    folder.mkdir(parents=True)
    for shard, part in enumerate((frame[:rows], frame[:0], frame[rows:])):
        part.write_parquet(folder / c.part_name(shard))


def candidates(folder: Path, **more: pl.Series) -> None:
    frame = pl.DataFrame(
        {
            c.USER: ["u0", "u1", "u2"],
            c.ITEM_INDEX: pl.Series([[2, 3, 1], [1], [3, 2]], dtype=INT32),
            c.SCORE: pl.Series([[9, 8, 7], [1], [2, 1]], dtype=FLOAT32),
            **more,
        }
    )
    write_parts(folder / "candidates", frame, 2)


def test_candidates_in_their_order_without_what_the_user_had(tmp_path: Path, problem: Problem) -> None:
    candidates(tmp_path)
    search = manifest_of(tmp_path)
    assert candidate_lists(search, problem, None, 3).tolist() == [[2, 3, 1], [1, 0, 0], [3, 2, 0]]
    assert candidate_lists(search, problem, problem.known, 2).tolist() == [[3, 1], [1, 0], [3, 2]]


def test_candidates_by_the_towers_score(tmp_path: Path, problem: Problem) -> None:
    candidates(tmp_path, score_towers=pl.Series([[0.1, 0.2, 0.3], [0.5], [0.1, 0.2]], dtype=FLOAT32))
    lists = candidate_lists(manifest_of(tmp_path), problem, None, 3, by="score_towers")
    assert lists.tolist() == [[1, 3, 2], [1, 0, 0], [2, 3, 0]]


def test_candidates_by_the_score_where_the_towers_have_no_column(tmp_path: Path, problem: Problem) -> None:
    candidates(tmp_path)
    lists = candidate_lists(manifest_of(tmp_path), problem, None, 3, by="score_towers")
    assert lists.tolist() == [[2, 3, 1], [1, 0, 0], [3, 2, 0]]


def test_towers_alone_are_searched_exactly_among_what_is_available(tmp_path: Path, problem: Problem) -> None:
    items = pl.DataFrame(
        {
            c.ITEM_INDEX: pl.Series([1, 2, 3, 4], dtype=pl.Int32),
            c.VECTOR: pl.Series([[1, 0], [0, 1], [0.6, 0.8], [5, 5]], dtype=FLOAT32),
        }
    )
    items.write_parquet(tmp_path / "item_vectors.parquet")
    users = pl.DataFrame({c.USER: ["u0", "u1", "u2"], c.VECTOR: pl.Series([[0, 1], [1, 0], [1, 1]], dtype=FLOAT32)})
    write_parts(tmp_path / "user_vectors", users, 1)
    search = manifest_of(tmp_path)
    assert tower_lists(search, problem, None, 4).tolist() == [[2, 3, 1, 0], [1, 3, 2, 0], [3, 1, 2, 0]]
    assert tower_lists(search, problem, problem.known, 2).tolist() == [[3, 1], [1, 3], [3, 1]]
    others = replace(problem, users=problem.users.reverse())
    with pytest.raises(ValueError, match="are not those of extract by hand"):
        tower_lists(search, others, None, 2)


def test_finished_lists_by_item_id(tmp_path: Path, problem: Problem) -> None:
    frame = pl.DataFrame({c.USER: ["u0", "u1", "u2"], c.ITEM: [["i3", "i1"], ["i2", "i4"], ["i1", "gone"]]})
    write_parts(tmp_path / "lists" / "home", frame, 2)
    assert finished_lists(manifest_of(tmp_path), problem, "home", 2).tolist() == [[3, 1], [2, 4], [1, 0]]


def test_lists_are_cut_and_filled_with_nothing() -> None:
    rows, items = np.array([0, 0, 0, 2]), np.array([3, 1, 2, 1], np.int32)
    assert packed(rows, items, (3, 4), None, 2).tolist() == [[3, 1], [0, 0], [1, 0]]
