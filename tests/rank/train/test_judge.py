from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from recjobs.rank.standardise import standardised
from recjobs.rank.train.judge import choose_blend, ndcg_by_user

GAINS = st.lists(st.lists(st.sampled_from([0.0, 0.0, 1.0, 4.0]), min_size=2, max_size=30), min_size=1, max_size=5)


@settings(deadline=None)
@given(GAINS, st.integers(0, 1000))
def test_ndcg_is_scikit_learns(lists: list[list[float]], seed: int) -> None:
    lengths = np.array([len(row) for row in lists])
    scores = np.random.default_rng(seed).permutation(lengths.sum()).astype(np.float32)
    flat = np.array([value for row in lists for value in row])
    ours = ndcg_by_user(scores, flat, np.ones(len(flat), np.bool_), lengths)
    starts = np.cumsum(lengths) - lengths
    theirs = [
        ndcg_score([row], [scores[start : start + len(row)]], k=20)
        for row, start in zip(lists, starts, strict=True)
        if any(row)
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_closed_pairs_are_not_ranked() -> None:
    scores, gains = np.array([3.0, 2.0, 1.0], np.float32), np.array([4.0, 0.0, 1.0])
    everything = ndcg_by_user(scores, gains, np.array([True, True, True]), np.array([3]))
    without_first = ndcg_by_user(scores, gains, np.array([False, True, True]), np.array([3]))
    assert everything[0] > 0.9
    assert without_first[0] == pytest.approx(1 / np.log2(3))


def judged(signal: float, seed: int, users: int = 300) -> float:
    random = np.random.default_rng(seed)
    lengths = np.full(users, 30)
    gains = (random.random(users * 30) < 0.05).astype(np.float64)
    retrieval = standardised(random.random(users * 30), lengths)
    utility = random.random(users * 30) + signal * gains
    return choose_blend(retrieval, utility, gains, np.ones(users * 30, np.bool_), lengths).weight


def test_a_ranker_that_knows_gets_weight() -> None:
    assert judged(signal=0.5, seed=0) >= 0.5


def test_a_ranker_that_guesses_seldom_gets_weight() -> None:
    """By chance the best of ten weights beats retrieval order somewhat often; the margin makes that rare."""
    fooled = sum(judged(signal=0.0, seed=seed) > 0 for seed in range(30))
    assert fooled <= 5


def test_nobody_to_judge_by_means_retrieval_order() -> None:
    nothing = np.zeros(0)
    verdict = choose_blend(nothing.astype(np.float32), nothing, nothing, np.zeros(0, np.bool_), np.zeros(0, np.int64))
    assert (verdict.weight, verdict.users) == (0.0, 0)
