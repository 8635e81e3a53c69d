"""Measures against scikit-learn and a plain Python program; the bootstrap against what it estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from recjobs.evaluate.bootstrap import resample
from recjobs.evaluate.measures import columns_of, measure

ITEMS = 30
AT = (1, 3, 10)

lists = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=12)
truths = st.sets(st.integers(0, ITEMS - 1), min_size=1, max_size=15)
people = st.lists(st.tuples(lists, truths), min_size=1, max_size=6)


def measured(users: Sequence[tuple[Sequence[int], set[int]]]) -> np.ndarray:
    hits = [(row, rank) for row, (shown, truth) in enumerate(users) for rank, item in enumerate(shown) if item in truth]
    rows, ranks = (np.array([hit[side] for hit in hits], np.int64) for side in (0, 1))
    return measure(rows, ranks, np.array([len(truth) for _, truth in users]), AT)


def naive(shown: Sequence[int], truth: set[int], k: int) -> list[float]:
    gains = [1 / math.log2(rank + 2) if item in truth else 0.0 for rank, item in enumerate(shown[:k])]
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(truth))))
    hits = sum(gain > 0 for gain in gains)
    return [hits / len(truth), sum(gains) / ideal, float(hits > 0)]


@settings(max_examples=200, deadline=None)
@given(people)
def test_measures_are_those_of_a_plain_program(users: list[tuple[list[int], set[int]]]) -> None:
    found = measured(users)
    for row, (shown, truth) in enumerate(users):
        expected = [value for k in AT for value in naive(shown, truth, k)]
        assert found[row] == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(ITEMS)), truths)
def test_ndcg_is_that_of_scikit_learn(shown: list[int], truth: set[int]) -> None:
    relevance = np.array([[float(item in truth) for item in range(ITEMS)]])
    scores = np.zeros((1, ITEMS))
    scores[0, shown] = np.arange(ITEMS, 0, -1)
    found = dict(zip(columns_of(AT), measured([(shown, truth)])[0], strict=True))
    for k in AT:
        assert found["ndcg", k] == pytest.approx(ndcg_score(relevance, scores, k=k))


def test_recall_divides_by_the_whole_truth_even_beyond_k() -> None:
    found = dict(zip(columns_of(AT), measured([([0, 1, 2], set(range(12)))])[0], strict=True))
    assert found["recall", 1] == pytest.approx(1 / 12)
    assert found["recall", 3] == pytest.approx(3 / 12)
    assert found["ndcg", 3] == pytest.approx(1.0)


def test_nobody_gives_no_rows() -> None:
    nothing = np.empty(0, np.int64)
    assert measure(nothing, nothing, nothing, AT).shape == (0, 9)


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        values = random.exponential(1.0, (200, 1))
        low, high = resample(values, 300, (trial,)).interval(0.9)
        covered += int(low[0] <= 1.0 <= high[0])
    assert 80 <= covered <= 97


def test_resampling_adds_up_and_repeats_itself() -> None:
    values = np.random.default_rng(1).random((50, 3))
    one, other = resample(values[:20], 80, (1, 0)), resample(values[20:], 80, (1, 1))
    both = one + other
    assert both.sums == pytest.approx(one.sums + other.sums)
    assert np.array_equal(resample(values[:20], 80, (1, 0)).sums, one.sums)
    assert not np.array_equal(resample(values[:20], 80, (2, 0)).sums, one.sums)
    assert both.users.mean() == pytest.approx(50, rel=0.1)
