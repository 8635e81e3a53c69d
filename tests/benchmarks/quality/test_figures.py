"""Measures of lists, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.figures import figures, gini
from tests.benchmarks.quality.problems import problem_of

SECOND = 1 / np.log2(3)
"""What a hit on the second place gains."""


def test_recall_and_ndcg_over_users_with_an_outcome() -> None:
    # User 0 has both hits of two, at places 2 and 3; user 1 none of one; user 2 has no outcome.
    problem = problem_of([], [(0, 1), (0, 2), (1, 4)], users=3, items=4)
    lists = np.array([[3, 1, 2], [1, 2, 3], [1, 2, 3]], np.int32)
    found = figures(lists, problem, (2, 3), new_items=False)
    assert found["users", 2] == 2
    assert found["recall", 2] == pytest.approx((1 / 2 + 0) / 2)
    assert found["recall", 3] == pytest.approx((1 + 0) / 2)
    assert found["ndcg", 2] == pytest.approx(SECOND / (1 + SECOND) / 2)
    assert found["ndcg", 3] == pytest.approx((SECOND + 0.5) / (1 + SECOND) / 2)
    assert ("recall_new", 2) not in found


def test_an_outcome_that_was_no_item_yet_counts_as_missed() -> None:
    problem = problem_of([], [(0, 0), (0, 0), (0, 1)], users=1, items=2)
    found = figures(np.array([[1, 2, 0]], np.int32), problem, (3,), new_items=False)
    assert found["recall", 3] == pytest.approx(1 / 3)


def test_new_items_are_what_the_user_did_not_have() -> None:
    # User 0 had 1 and 2: they leave list and truth, 3 moves up to the first place. User 1's truth is all known.
    problem = problem_of([(0, 1, 5), (0, 2, 5), (1, 4, 5)], [(0, 1), (0, 3), (1, 4)], users=2, items=4)
    found = figures(np.array([[1, 2, 3, 4], [4, 1, 2, 3]], np.int32), problem, (1,), new_items=True)
    assert found["users_new", 1] == 1
    assert found["recall_new", 1] == 1
    assert found["ndcg_new", 1] == 1
    assert found["recall", 1] == pytest.approx((1 / 2 + 1) / 2)


def test_coverage_and_gini_look_at_what_may_be_shown() -> None:
    problem = problem_of([], [(0, 1)], users=2, items=4, eligible=[True, True, True, False])
    found = figures(np.array([[1, 2], [1, 3]], np.int32), problem, (1, 2), new_items=False)
    assert found["coverage", 1] == pytest.approx(1 / 3)
    assert found["coverage", 2] == 1
    assert found["gini", 1] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("counts", "expected"), [([5, 5, 5], 0), ([0, 0, 9], 2 / 3), ([0, 0], 0), ([1, 3], 0.25), ([3, 1], 0.25)]
)
def test_gini(counts: list[int], expected: float) -> None:
    assert gini(np.array(counts)) == pytest.approx(expected)
