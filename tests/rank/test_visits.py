"""A user's rhythm, beside a plain count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from recjobs.rank.history import pair_history
from recjobs.rank.visits import visits_of
from tests.rank.test_history import ITEMS, NOW, USERS, Rows, everything, shard


@settings(deadline=None, max_examples=30)
@given(USERS)
def test_visits_baskets_and_first_times_are_those_of_a_plain_count(rows: Rows) -> None:
    visits = visits_of(shard(rows), NOW)
    for user, row in enumerate(rows):
        events, items = sum(pair[2] for pair in row), {pair[0] for pair in row}
        number = max(len({pair[3] for pair in row}), max((pair[2] for pair in row), default=0))
        assert visits.number[user] == number
        assert visits.basket[user] == pytest.approx(events / max(number, 1))
        assert visits.explorer[user] == pytest.approx(len(items) / max(events, 1))
        oldest, newest = (choose((pair[3] for pair in row), default=0) for choose in (max, min))
        interval = (oldest - newest) / (number - 1) if number > 1 else np.nan
        np.testing.assert_allclose(visits.interval[user], interval, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(USERS)
def test_an_item_that_was_never_had_says_so_and_nothing_else(rows: Rows) -> None:
    user, item = everything(len(rows))
    found = pair_history(shard(rows), ITEMS, ("view", "buy"), NOW).features(user, item)
    never = np.array([not any(pair[0] == i for pair in rows[u]) for u, i in zip(user, item, strict=True)])
    assert np.array_equal(found["never_had"], never)
    for name in ("in_last_visit", "visit_gap_fresh", "visit_share", "pair_due", "log_pair_days", "pair_decayed_30d"):
        assert not found[name][never].any()
        assert np.isfinite(found[name]).all()


def test_how_due_an_item_is_goes_by_the_users_own_interval() -> None:
    """Both had item 1 twenty days ago and came again since; the first comes every 5 days, the second every 40."""
    often = [(1, 1, 1, 20), *((2 + n % 4, 1 + n // 4, 1, 5 * n) for n in range(4))]
    seldom = [(1, 1, 1, 20), (2, 1, 1, 0), (3, 1, 1, 80)]
    user, item = np.array([0, 1]), np.array([1, 1])
    found = pair_history(shard([often, seldom]), ITEMS, ("view", "buy"), NOW).features(user, item)
    np.testing.assert_allclose(found["pair_due"], [1 / (1 + 20 / (20 / 4 + 7)), 1 / (1 + 20 / (80 / 2 + 7))], rtol=1e-5)
    assert not found["in_last_visit"].any()
    same = pair_history(shard([often, seldom]), ITEMS, ("view", "buy"), NOW).features(user, item + 1)
    assert same["in_last_visit"].all()
