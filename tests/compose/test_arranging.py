"""Fixed places against a program that fills them one by one."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.columns import SCORE
from recjobs.compose.arranging import PLACE, reordered, settled
from recjobs.compose.steps import LISTS, Origin
from tests.compose.shelves import assert_sound, listed, lists_of


def fixed_rows(wanted: list[dict[int, int]]) -> pl.DataFrame:
    rows = [
        (row, item, None, int(Origin.PINNED), place)
        for row, fixed in enumerate(wanted)
        for place, item in fixed.items()
    ]
    return pl.DataFrame(rows, schema={**LISTS, PLACE: pl.Int64}, orient="row")


def naive(free: list[int], fixed: dict[int, int]) -> list[int]:
    left, made = list(free), []
    for place in range(len(free) + len(fixed)):
        if place in fixed:
            made.append(fixed[place])
        elif left:
            made.append(left.pop(0))
    return made + [fixed[place] for place in sorted(fixed) if fixed[place] not in made]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=5),
    st.lists(st.sets(st.integers(0, 9), max_size=4), min_size=5, max_size=5),
)
def test_fixed_items_stand_at_their_places(lengths: list[int], places: list[set[int]]) -> None:
    free = [list(range(1, length + 1)) for length in lengths]
    fixed = [{place: 100 + place for place in places[row]} for row in range(len(free))]
    after = settled(lists_of(*free), fixed_rows(fixed))
    for row, (items, wanted) in enumerate(zip(free, fixed, strict=True)):
        assert listed(after, row) == naive(items, wanted)
    assert_sound(after.with_columns(pl.col(SCORE).fill_null(-1.0)))


def test_what_is_put_in_takes_the_score_of_what_it_pushes_down() -> None:
    after = settled(lists_of([1, 2, 3]), fixed_rows([{1: 9, 4: 8}]))
    assert listed(after) == [1, 9, 2, 3, 8]
    assert after[SCORE].to_list() == [3.0, 2.0, 2.0, 1.0, None]


def test_an_order_moves_items_and_leaves_scores() -> None:
    lists = lists_of([1, 2, 3], [4, 5])
    after = reordered(lists, np.array([2, 0, 1, 4, 3]))
    assert (listed(after, 0), listed(after, 1)) == ([3, 1, 2], [5, 4])
    assert after[SCORE].to_list() == lists[SCORE].to_list()
    assert reordered(lists, np.arange(5)) is lists
