from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.rank.relations.counts import COLUMN, NEAR, NEXT, ROW, TOGETHER, pair_sums, related

ITEMS = 4


def plain_sums(events: list[tuple[int, int, int]], reach: int) -> dict[tuple[int, int], list[float]]:
    """near, next and together by (had, spoken for), counted pair by pair."""
    found: dict[tuple[int, int], list[float]] = {}
    for user in {user for user, _, _ in events}:
        own = [(item, time) for who, time, item in events if who == user and item > 0]
        moments = sorted({time for _, time in own})
        for first, (a, before) in enumerate(own):
            for b, after in own[first + 1 : first + 1 + reach]:
                apart = moments.index(after) - moments.index(before)
                if a == b:
                    continue
                for key, near, following in (
                    ((a, b), 1 / max(apart, 1), float(apart <= 1)),
                    ((b, a), 0.5 / apart if apart else 1.0, float(apart == 0)),
                ):
                    sums = found.setdefault(key, [0.0, 0.0, 0.0])
                    for place, value in enumerate((near, following, 1.0)):
                        sums[place] += value
    return found


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, ITEMS)), max_size=20).map(sorted),
    reach=st.integers(1, 5),
)
def test_sums_are_those_of_a_plain_count(events: list[tuple[int, int, int]], reach: int) -> None:
    user, time, item = np.array(events, np.int64).reshape(-1, 3).T
    sums = pair_sums(user, item, time, reach)
    wanted = plain_sums(events, reach)
    assert sums.select(ROW, COLUMN).rows() == sorted(wanted)
    for row, column, *values in sums.rows():
        assert values == pytest.approx(wanted[row, column])


def test_rates_are_shares_of_what_was_had_and_only_the_nearest_are_kept() -> None:
    user, item = np.zeros(3, np.int64), np.array([1, 2, 3])
    sums = pair_sums(user, item, np.arange(3), 5)
    rates = related(sums, np.array([0.0, 3.0, 3.0, 8.0]), shrinkage=1.0, neighbours=1)
    assert rates.select(ROW, COLUMN).rows() == [(1, 2), (2, 3), (3, 2)]
    assert rates[NEXT].to_list() == pytest.approx([1 / 4, 1 / 4, 0.0])
    assert rates[TOGETHER].to_list() == pytest.approx([1 / 4, 1 / 6, 1 / 6])
    assert rates[NEAR].to_list() == pytest.approx([1 / 2 / 4**0.2, 1 / 2 / 9**0.2, 0.5 / 3 / 4**0.2])


def test_twice_the_same_sequences_change_the_rates_by_shrinkage_alone() -> None:
    user, item = np.repeat(np.arange(2), 3), np.tile([1, 2, 3], 2)
    once, twice = (
        related(pair_sums(user[:rows], item[:rows], np.arange(rows), 5), events, 1e-9, 9)
        for rows, events in ((3, np.array([0.0, 1, 1, 1])), (6, np.array([0.0, 2, 2, 2])))
    )
    assert twice[NEXT].to_list() == pytest.approx(once[NEXT].to_list())
    assert twice[TOGETHER].to_list() == pytest.approx(once[TOGETHER].to_list())
