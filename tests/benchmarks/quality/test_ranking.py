"""Lists are the best of what may be shown, and nothing better is left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from benchmarks.quality.ranking import best_lists


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 8))
def test_nothing_better_is_left_out(seed: int, items: int, length: int) -> None:
    random, users = np.random.default_rng(seed), 4
    scores = random.integers(-3, 4, (users, items + 1)).astype(np.float32)
    eligible = np.r_[False, random.random(items) < 0.8]
    barred = sparse.csr_matrix(random.random((users, items + 1)) < 0.3)
    lists = best_lists(lambda rows: scores[rows].copy(), users, eligible, barred, length)
    for user in range(users):
        allowed = [item for item in range(items + 1) if eligible[item] and not barred[user, item]]
        expected = sorted(allowed, key=lambda item: (-scores[user, item], item))[:length]
        assert lists[user].tolist() == expected + [0] * (length - len(expected))


def test_users_are_taken_in_blocks_that_join() -> None:
    users, items = 2500, 3
    best = np.arange(users) % items + 1
    eligible = np.array([False, True, True, True])
    lists = best_lists(lambda rows: np.eye(items + 1, dtype=np.float32)[best[rows]], users, eligible, None, 1)
    np.testing.assert_array_equal(lists[:, 0], best)
