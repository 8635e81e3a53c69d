"""The baselines against their definitions, written out slowly, and against planted tastes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality.baselines import BASELINES
from benchmarks.quality.baselines.ease import item_weights
from benchmarks.quality.baselines.sequence_knn import similarities
from benchmarks.quality.ranking import best_lists
from benchmarks.quality.tuning import GRIDS, OWN_GRIDS, grid
from tests.benchmarks.quality.problems import Triple, events_of, problem_of

USERS, ITEMS = 5, 6
HISTORIES = st.lists(
    st.tuples(st.integers(0, USERS - 1), st.integers(1, ITEMS), st.integers(0, 30)), min_size=1, max_size=25
)


@settings(max_examples=40, deadline=None)
@given(HISTORIES, st.sampled_from([1.0, 5.0, 100.0]))
def test_ease_is_the_best_linear_model_that_may_not_use_the_item_itself(history: list[Triple], l2: float) -> None:
    x = problem_of(history, users=USERS, items=ITEMS).known
    dense = x.toarray().astype(np.float64)
    weights = item_weights(x, l2)
    for item in range(ITEMS + 1):
        others = np.delete(np.arange(ITEMS + 1), item)
        left = dense[:, others]
        best = np.linalg.solve(left.T @ left + l2 * np.eye(ITEMS), left.T @ dense[:, item])
        np.testing.assert_allclose(weights[others, item], best, atol=1e-4)
    assert (np.diag(weights) == 0).all()


@settings(max_examples=40, deadline=None)
@given(HISTORIES, st.integers(1, 4), st.sampled_from([2.0, None]), st.sampled_from([0.0, 0.5, 1.0]))
def test_similarities_are_the_weighted_pairs(
    history: list[Triple], window: int, half_life: float | None, backward: float
) -> None:
    events = events_of(history)
    parameters = {
        "window": window,
        "pair_half_life_days": half_life,
        "backward": backward,
        "from_power": 0.5,
        "to_power": 0.25,
    }
    found = similarities(events, ITEMS + 1, parameters).toarray()
    expected = np.zeros((ITEMS + 1, ITEMS + 1))
    ordered = sorted(history, key=lambda triple: (triple[0], triple[2]))
    count = defaultdict(int, {item: sum(triple[1] == item for triple in history) for item in range(ITEMS + 1)})
    for place, (user, item, day) in enumerate(ordered):
        for other, following, later in ordered[place + 1 : place + 1 + window]:
            if other == user and item != following:
                weight = 1.0 if half_life is None else 0.5 ** ((later - day) / half_life)
                scale = {
                    one: count[one] ** -0.5 * count[two] ** -0.25 for one, two in ((item, following), (following, item))
                }
                expected[item, following] += weight * scale[item]
                expected[following, item] += backward * weight * scale[following]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_repeat_weighs_events_by_age() -> None:
    problem = problem_of([(0, 1, 100), (0, 2, 90), (0, 2, 90), (1, 3, 80)], users=2, items=3)
    scores = BASELINES["repeat"](problem, {"half_life_days": 10}, 17)(slice(0, 2))
    np.testing.assert_allclose(scores, [[0, 1, 1, 0], [0, 0, 0, 0.25]])
    alike = BASELINES["repeat"](problem, {"half_life_days": None}, 17)(slice(0, 1))
    np.testing.assert_allclose(alike, [[0, 1, 2, 0]])


def test_popularity_counts_what_was_learnt_from_in_its_days() -> None:
    trained = [(0, 1, 10), (1, 1, 10), (0, 2, 30), (1, 3, 24)]
    problem = problem_of([*trained, (0, 3, 40), (1, 3, 40)], users=2, items=3, trained=trained)
    np.testing.assert_array_equal(BASELINES["popularity"](problem, {"days": None}, 17)(slice(0, 1)), [[0, 2, 1, 1]])
    np.testing.assert_array_equal(BASELINES["popularity"](problem, {"days": 6}, 17)(slice(0, 1)), [[0, 0, 1, 0]])


def checkerboard() -> tuple[list[Triple], list[int]]:
    """Even users have even items, odd users odd ones, each all but one: item `missing[user]`."""
    users, items = 20, 12
    missing = [1 + (user % 2) + 2 * ((user // 2) % (items // 2)) for user in range(users)]
    history = [
        (user, item, day)
        for user in range(users)
        for day, item in enumerate(range(1 + user % 2, items + 1, 2))
        if item != missing[user]
    ]
    return history, missing


PARAMETERS: dict[str, dict[str, Any]] = {
    "ease": {"l2": 5.0},
    "ials": {"factors": 8, "regularization": 0.01, "alpha": 10.0, "iterations": 15},
    "sequence_knn": {
        "window": 6,
        "pair_half_life_days": None,
        "backward": 1.0,
        "from_power": 0.5,
        "to_power": 0.5,
        "half_life_days": None,
    },
    "ease_repeat": {"l2": 5.0, "half_life_days": 30, "repeat_share": 0.3},
}


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_the_missing_square_of_a_checkerboard_is_found(name: str) -> None:
    history, missing = checkerboard()
    problem = problem_of(history, users=20, items=12)
    scorer = BASELINES[name](problem, PARAMETERS[name], 17)
    lists = best_lists(scorer, 20, problem.items.eligible, problem.known, 1)
    assert lists[:, 0].tolist() == missing


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_users_are_judged_by_their_history_also_where_training_ended_earlier(name: str) -> None:
    history, missing = checkerboard()
    late = [triple for triple in history if triple[0] == 0]
    problem = problem_of(history, users=20, items=12, trained=[triple for triple in history if triple[0] != 0])
    assert late
    lists = best_lists(BASELINES[name](problem, PARAMETERS[name], 17), 20, problem.items.eligible, problem.known, 1)
    assert lists[0, 0] == missing[0]


def test_every_grid_fits_its_baseline() -> None:
    history, _ = checkerboard()
    problem = problem_of(history, users=20, items=12)
    for data_set in ("beauty", *OWN_GRIDS):
        for name in GRIDS:
            first = {**next(iter(grid(data_set, name)))}
            if name == "ials":
                first |= {"factors": 4, "iterations": 1}
            assert BASELINES[name](problem, first, 17)(slice(0, 3)).shape == (3, 13)
