"""A boost helps, whatever sign scores have."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.columns import SCORE
from recjobs.compose.boosts import Boosts
from recjobs.compose.rulebook import rulebook
from tests.compose.shelves import assert_sound, config_of, items_of, listed, lists_of, scene


def boosted(factors: dict[int, float], items: int) -> Boosts:
    boost = np.zeros(items + 1, np.float32)
    for item, factor in factors.items():
        boost[item] = np.log(factor)
    return Boosts(boost)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=8),
    st.integers(1, 8),
    st.floats(1.01, 20),
)
def test_more_weight_never_moves_an_item_down_and_less_never_up(scores: list[float], item: int, factor: float) -> None:
    item = min(item, len(scores))
    lists = lists_of(list(range(1, len(scores) + 1)), scores=sorted(scores, reverse=True))
    for one, direction in ((factor, 1), (1 / factor, -1)):
        after = boosted({item: one}, len(scores))(lists, scene(len(scores))).lists
        assert_sound(after)
        assert direction * (listed(lists).index(item) - listed(after).index(item)) >= 0
        assert [other for other in listed(after) if other != item] == [x for x in listed(lists) if x != item]


def test_a_boost_adds_deviations_of_the_users_own_scores() -> None:
    scores = [-1.0, -1.2, -3.0, -4.0]
    after = boosted({2: 2.0}, 4)(lists_of([1, 2, 3, 4], scores=scores), scene(4))
    assert listed(after.lists) == [2, 1, 3, 4]
    assert after.lists[SCORE][0] == pytest.approx(-1.2 + np.log(2) * np.std(scores), rel=1e-5)
    assert (after.moved, after.removed, after.added) == (2, 0, 0)


def test_equal_scores_are_told_apart_by_the_boost() -> None:
    lists = pl.concat([lists_of([1, 2, 3], scores=[0.5] * 3)])
    assert listed(boosted({3: 1.1}, 3)(lists, scene(3)).lists) == [3, 1, 2]


def test_half_undoes_double_and_rules_add_up() -> None:
    rules = [
        {"where": {"brand": "A"}, "multiply": 2.0},
        {"where": {"price": {"max": 3}}, "multiply": 0.5},
        {"where": {"brand": "B"}, "add": 0.25},
    ]
    items = items_of([{"brand": "A", "price": 1}, {"brand": "A", "price": 9}, {"brand": "B", "price": 9}])
    book = rulebook(config_of(rules={"boost": rules}), "home", items, {"view": 1})
    assert book.boost.tolist() == pytest.approx([0, 0, np.log(2), 0.25])
    assert book.matched == {"boost 1": 2, "boost 2": 1, "boost 3": 1}
