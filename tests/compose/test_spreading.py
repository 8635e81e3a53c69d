"""Caps and clusters against a greedy program that goes from place to place."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.columns import SCORE
from recjobs.compose.caps import Caps
from recjobs.compose.rulebook import Limit
from tests.compose.shelves import assert_sound, listed, lists_of, scene

ITEMS = 12


def limit(groups: list[int], at_most: int, window: int, places: int) -> Limit:
    return Limit(np.array([0, *groups], np.int32), at_most, window, places)


def naive(items: list[int], limits: list[Limit]) -> tuple[list[int], int]:
    left, made, forced = list(items), [], 0
    for place in range(min(max(one.places for one in limits), len(items))):
        fitting = [item for item in left if all(_fits(item, made, place, one) for one in limits)]
        forced += not fitting
        chosen = (fitting or left)[0]
        left.remove(chosen)
        made.append(chosen)
    return made + left, forced


def _fits(item: int, above: list[int], place: int, one: Limit) -> bool:
    group = one.groups[item]
    if place >= one.places or group == 0:
        return True
    first = place // one.window * one.window
    return Counter(one.groups[other] for other in above[first:])[group] < one.at_most


groups = st.lists(st.integers(0, 3), min_size=ITEMS, max_size=ITEMS)
limits = st.builds(limit, groups, st.integers(1, 3), st.integers(2, 6), st.integers(2, 9))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, ITEMS), unique=True, max_size=ITEMS), min_size=1, max_size=5),
    st.lists(limits, min_size=1, max_size=3),
)
def test_lists_are_those_of_a_greedy_program(lists: list[list[int]], chosen: list[Limit]) -> None:
    before = lists_of(*lists)
    after = Caps(tuple(chosen))(before, scene(ITEMS, users=len(lists)))
    assert_sound(after.lists)
    expected = [naive(one, chosen) for one in lists]
    for row, (items, _) in enumerate(expected):
        assert listed(after.lists, row) == items
    assert after.gave_way == sum(forced for _, forced in expected)
    pairs = [zip(old, new, strict=True) for old, (new, _) in zip(lists, expected, strict=True)]
    assert after.moved == sum(one != other for pair in pairs for one, other in pair)


def test_what_is_over_a_cap_moves_below_and_scores_stay_with_places() -> None:
    brands = limit([1, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0], 2, 5, 5)
    after = Caps((brands,))(lists_of([1, 2, 3, 4, 5, 6]), scene(ITEMS))
    assert listed(after.lists) == [1, 2, 4, 5, 6, 3]
    assert after.lists[SCORE].to_list() == [6, 5, 4, 3, 2, 1]
    assert (after.moved, after.gave_way) == (4, 0)


def test_a_list_of_one_brand_stays_full() -> None:
    after = Caps((limit([1] * ITEMS, 1, 4, 4),))(lists_of([3, 2, 1]), scene(ITEMS))
    assert listed(after.lists) == [3, 2, 1]
    assert after.gave_way == 2


def test_many_users_are_arranged_as_one_is() -> None:
    brands = limit([1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2], 1, 2, 6)
    one = [1, 3, 5, 2, 4, 6]
    after = Caps((brands,))(lists_of(*[one] * 1100), scene(ITEMS, users=1100))
    assert listed(after.lists, 0) == naive(one, [brands])[0]
    assert all(listed(after.lists, row) == listed(after.lists, 0) for row in (1, 511, 512, 1099))
