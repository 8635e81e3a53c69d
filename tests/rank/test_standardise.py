from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.rank.standardise import closeness, standardised

LISTS = st.lists(st.lists(st.integers(-1000, 1000), max_size=6), max_size=6)


@settings(deadline=None)
@given(LISTS)
def test_every_user_has_mean_0_and_deviation_1_or_all_0(lists: list[list[int]]) -> None:
    lengths = np.array([len(row) for row in lists], np.int64)
    flat = np.array([value for row in lists for value in row], np.float32)
    result = standardised(flat, lengths)
    assert result.dtype == np.float32
    start = 0
    for row in lists:
        ours = result[start : start + len(row)]
        start += len(row)
        if len(set(row)) > 1:
            np.testing.assert_allclose(ours, (np.array(row) - np.mean(row)) / np.std(row), atol=1e-5)
        else:
            assert not ours.any()


def test_equal_values_that_have_no_exact_mean_give_0() -> None:
    assert not standardised(np.full(3, 0.1, np.float32), np.array([3])).any()


@given(st.lists(st.lists(st.integers(-2, 2), max_size=5), max_size=4))
def test_closeness_is_one_over_the_rank(lists: list[list[int]]) -> None:
    values = np.array([value for row in lists for value in row], np.float32)
    found = closeness(values, np.array([len(row) for row in lists], np.int64))
    expected = []
    for row in lists:
        best = sorted(range(len(row)), key=lambda place: (-row[place], place))
        expected += [1 / (1 + best.index(place)) if value else 0.0 for place, value in enumerate(row)]
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-6)
