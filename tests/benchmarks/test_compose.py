"""What the benchmark of composition measures, on lists with a known answer."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.compose import ALL, OFF, TOGETHER, VARIANTS, diversity, draw, novelty
from benchmarks.quality.problem import Events, Problem, Truth
from recjobs.compose.config import SurfaceConfig
from recjobs.evaluate.items import Items


def problem(had: list[tuple[int, int]], users: int, items: int) -> Problem:
    rows, indexes = (np.array(one, np.int32) for one in zip(*had, strict=True))
    events = Events(rows, indexes, np.zeros(len(rows), np.int64))
    names = pl.Series([None, *(f"i{number}" for number in range(items))], dtype=pl.String)
    known = Items(names, names, np.r_[False, np.ones(items, np.bool_)], np.zeros(items + 1))
    nothing = np.empty(0, np.int64)
    return Problem("p", pl.Series([f"u{n}" for n in range(users)]), known, events, events, 0, Truth(nothing, nothing))


def test_novelty_is_the_mean_information_of_what_is_shown() -> None:
    had = [(user, 1) for user in range(4)] + [(0, 2), (0, 2)]
    # All four users had item 1, one item 2, nobody item 3, which counts as one.
    assert novelty(problem(had, 4, 3), np.array([[1, 2], [3, 0]], np.int32)) == pytest.approx((0 + 2 + 2) / 3)


def test_diversity_is_one_less_the_mean_cosine_of_pairs() -> None:
    matrix = np.array([[0, 0], [1, 0], [1, 0], [0, 1], [-1, 0]], np.float32)
    assert diversity(np.array([[1, 2]], np.int32), matrix) == pytest.approx(0)
    assert diversity(np.array([[1, 3]], np.int32), matrix) == pytest.approx(1)
    assert diversity(np.array([[1, 4], [1, 2]], np.int32), matrix) == pytest.approx(1)
    # The pairs of 1, 2, 3: cosines 1, 0, 0. A list of one item has no pair.
    assert diversity(np.array([[1, 2, 3], [1, 0, 0]], np.int32), matrix) == pytest.approx(2 / 3)


def test_every_variant_is_a_setting_and_the_picture_shows_them(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for own in VARIANTS.values():
        assert SurfaceConfig.model_validate({"length": 50, **own}) != SurfaceConfig(length=50)
    assert set(TOGETHER) <= set(VARIANTS)
    row = dict.fromkeys(("ndcg", "diversity", "coverage", "gini", "novelty"), 0.5)
    draw(tmp_path / "picture.png", "demo", {OFF: row, "mmr 0.9": row, ALL: row})
    assert (tmp_path / "picture.png").stat().st_size > 10_000
