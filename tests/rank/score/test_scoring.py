from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.rank.score.scoring import best_first

LISTS = st.lists(st.lists(st.integers(-3, 3), max_size=7), max_size=6)


@settings(deadline=None)
@given(LISTS)
def test_best_first_sorts_each_user_and_keeps_the_order_of_equals(lists: list[list[int]]) -> None:
    lengths = np.array([len(row) for row in lists], np.int64)
    scores = np.array([value for row in lists for value in row], np.float32)
    start, expected = 0, []
    for row in lists:
        expected += [start + place for place in sorted(range(len(row)), key=lambda place, row=row: -row[place])]
        start += len(row)
    assert best_first(scores, lengths).tolist() == expected
