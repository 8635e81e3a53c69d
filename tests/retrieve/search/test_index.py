from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.errors import ModelError
from recjobs.retrieve.search.audit import choose, recall_of, sample_rows
from recjobs.retrieve.search.index import (
    Database,
    Effort,
    Searcher,
    build_index,
    check_saved_index,
    efforts,
    exact_searcher,
    exact_top,
    load_index,
    ties_by_index,
)

K = 50


def clustered(items: int, seed: int = 0) -> Database:
    """Vectors around 40 centres, as items of one taste are; every second index is not in the database."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(40, 16))
    vectors = centres[random.integers(0, 40, items)] + 0.3 * random.normal(size=(items, 16))
    return Database(np.arange(1, 2 * items, 2, dtype=np.int32), vectors.astype(np.float32))


def queries(count: int) -> Any:
    return np.random.default_rng(9).normal(size=(count, 16)).astype(np.float32)


class Lossy:
    """A backend that leaves rows short as ScaNN does: position 0 with NaN, or too few columns."""

    def __init__(self, database: Database, short: list[int], columns: int | None) -> None:
        self.database, self.short, self.columns = database, short, columns

    def search_batched_parallel(self, asked: Any, k: int, *_: Any) -> tuple[Any, Any]:
        position, score = exact_top(asked, self.database.vectors, self.columns or k)
        position, score = position.astype(np.uint32), score.copy()
        position[self.short, -2:], score[self.short, -2:] = 0, np.nan
        return position, score


def test_exact_search_gives_the_best_items_in_order() -> None:
    database, asked = clustered(300), queries(7)
    found = exact_searcher(database, 10).search(asked)
    scores = asked @ database.vectors.T
    order = np.argsort(-scores, axis=1)[:, :10]
    assert found.item_index.tolist() == database.item_index[order].tolist()
    assert found.score == pytest.approx(np.take_along_axis(scores, order, axis=1), abs=1e-4)
    assert found.item_index.dtype == np.int32
    assert found.score.dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(items=st.integers(3, 60), k=st.integers(3, 80), rows=st.integers(1, 12), seed=st.integers(0, 99), data=st.data())
def test_short_answers_are_refilled_to_what_exact_search_gives(
    items: int, k: int, rows: int, seed: int, data: st.DataObject
) -> None:
    database, asked = clustered(items, seed), queries(rows)
    k = min(k, items)
    short = data.draw(st.lists(st.integers(0, rows - 1), unique=True))
    fewer = data.draw(st.sampled_from([None, k - 1]))
    found = Searcher(database, Lossy(database, short, fewer), k).search(asked)
    wanted = exact_top(asked, database.vectors, k)
    assert found.item_index.tolist() == database.item_index[wanted[0]].tolist()
    assert found.score == pytest.approx(wanted[1], abs=1e-5)
    assert found.refilled == (rows if fewer else len(short))


def test_more_candidates_than_items_are_all_items() -> None:
    database = clustered(5)
    found = exact_searcher(database, 200).search(queries(3))
    assert [sorted(row) for row in found.item_index.tolist()] == [database.item_index.tolist()] * 3


def test_no_queries_give_no_rows() -> None:
    found = exact_searcher(clustered(30), 7).search(np.zeros((0, 16), np.float32))
    assert found.item_index.shape == (0, 7)


def test_no_available_item_is_an_error() -> None:
    with pytest.raises(ModelError, match="no item is available"):
        Database(np.zeros(0, np.int32), np.zeros((0, 4), np.float32))


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=5), st.randoms())
def test_equal_scores_stand_in_the_order_of_item_indexes(scores: list[list[int]], random: Any) -> None:
    score = -np.sort(-np.array(scores, np.float32), axis=1)
    index = np.array([random.sample(range(1, 50), 6) for _ in scores], np.int32)
    ordered, kept = ties_by_index(index, score)
    for before, row, values in zip(index, ordered, kept, strict=True):
        assert sorted(row) == sorted(before)
        assert all(
            left[0] > right[0] or (left[0] == right[0] and left[1] < right[1])
            for left, right in zip(zip(values, row), zip(values[1:], row[1:]), strict=False)  # noqa: B905
        )


def test_scann_finds_what_exact_search_finds_also_through_the_saved_and_moved_index(tmp_path: Path) -> None:
    database, asked = clustered(2000), queries(300)
    index = build_index(database, K)
    index.serialize(str(tmp_path), relative_path=True)
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    searchers = [Searcher(database, load_index(moved), K, effort) for effort in efforts(2000, K)]
    chosen, audit = choose(searchers, exact_searcher(database, K), asked, 0.98)
    assert audit.recall >= 0.98
    assert chosen.effort is not None
    assert not audit.fell_back
    found = chosen.search(asked)
    assert found.item_index.shape == (300, K)
    assert all(len(set(row)) == K for row in found.item_index.tolist())
    assert not np.isnan(found.score).any()


def test_a_saved_index_that_answers_otherwise_or_does_not_load_is_an_error(tmp_path: Path) -> None:
    database, asked = clustered(2000), queries(50)
    built = Searcher(database, build_index(database, K), K, efforts(2000, K)[-1])
    for name, other in (("own", None), ("other", clustered(2000, seed=5))):
        (tmp_path / name).mkdir()
        saved = built._backend if other is None else build_index(other, K)
        saved.serialize(str(tmp_path / name), relative_path=True)  # type: ignore[attr-defined]
    check_saved_index(tmp_path / "own", built, asked)
    with pytest.raises(ModelError, match="answers 50 of 50 sampled users otherwise"):
        check_saved_index(tmp_path / "other", built, asked)
    for file in (tmp_path / "own").iterdir():
        file.unlink()
    with pytest.raises(ModelError, match="can't be loaded from another folder"):
        check_saved_index(tmp_path / "own", built, asked)


def test_one_leaf_is_too_little_and_every_row_is_still_full() -> None:
    database, asked = clustered(2000), queries(100)
    found = Searcher(database, build_index(database, 500), 500, Effort(leaves=1, reorder=500)).search(asked)
    assert found.refilled > 0
    assert all(len(set(row)) == 500 for row in found.item_index.tolist())


def test_recall_counts_equally_good_items_as_found() -> None:
    database = Database(np.arange(1, 11, dtype=np.int32), np.ones((10, 4), np.float32))
    backwards = Lossy(Database(database.item_index, database.vectors), [], None)
    assert recall_of(Searcher(database, backwards, 3), np.ones((2, 4), np.float32)) == 1.0


def test_a_searcher_below_the_floor_is_not_used() -> None:
    database, asked = clustered(400), queries(50)

    class Wrong:
        def search_batched_parallel(self, given: Any, k: int, *_: Any) -> tuple[Any, Any]:
            position, score = exact_top(given, -database.vectors, k)
            return position, score

    exact = exact_searcher(database, 20)
    chosen, audit = choose([Searcher(database, Wrong(), 20, Effort(1, 20))], exact, asked, 0.98)
    assert chosen is exact
    assert audit.fell_back
    assert audit.effort is None
    assert audit.trials[0].recall < 0.2
    assert audit.recall == 1.0
    assert audit.to_json()["method"] == "exact"


def test_efforts_rise_and_stay_within_the_tree() -> None:
    tried = efforts(100_000, 100)
    assert [effort.leaves for effort in tried] == sorted({effort.leaves for effort in tried})
    assert all(100 <= effort.reorder <= 100_000 for effort in tried)


def test_the_sample_is_drawn_without_repeats_by_seed() -> None:
    assert sample_rows(5, 10, (1, 2)).tolist() == [0, 1, 2, 3, 4]
    rows = sample_rows(100, 10, (1, 2))
    assert len(set(rows.tolist())) == 10
    assert rows.tolist() == sample_rows(100, 10, (1, 2)).tolist() != sample_rows(100, 10, (1, 3)).tolist()
