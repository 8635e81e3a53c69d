from __future__ import annotations

import numpy as np
import pytest

from recjobs.retrieve.search.sources.config import RepeatConfig
from recjobs.retrieve.search.sources.cooccurrence import Sequences
from recjobs.retrieve.search.sources.repeat import Repeat, gap_sums, intervals
from tests.retrieve.search.sources.people import DAY, users_of


def test_gaps_lie_between_a_users_days_with_the_item() -> None:
    events = [(0, 1, 0), (0, 1, 10), (0, 2, DAY), (0, 1, 4 * DAY), (0, 1, 6 * DAY), (1, 1, 0), (1, 2, 9 * DAY)]
    log_gaps, repeats = gap_sums(Sequences(*np.array(events, np.int64).T), 3)
    assert repeats.tolist() == [0, 2, 0, 0]
    assert log_gaps == pytest.approx([0, np.log(4) + np.log(2), 0, 0])


def test_an_interval_is_drawn_towards_that_of_all_items() -> None:
    sums, repeats = np.log([1, 10.0**30, 2.0**10]), np.array([0, 30.0, 10.0])
    usual = (30 * np.log(10) + 10 * np.log(2)) / 40
    days = intervals(sums, repeats, RepeatConfig(shrinkage=10))
    assert days == pytest.approx(
        np.exp([usual, (30 * np.log(10) + 10 * usual) / 40, (10 * np.log(2) + 10 * usual) / 20])
    )
    assert intervals(np.zeros(2), np.zeros(2), RepeatConfig(interval_days=7)) == pytest.approx([7, 7])


def test_an_item_is_most_wanted_when_its_interval_is_over() -> None:
    config = RepeatConfig(early=0.5, half_life=1)
    position = np.array([-1, 0, 1, 2, -1])
    source = Repeat(np.full(5, 10.0), position, 3, np.array([0.0, 1.0, 3.0]), 100 * DAY, config)
    users = users_of(
        [(1, 1, 1, 100 * DAY), (2, 1, 1, 90 * DAY), (3, 1, 1, 80 * DAY), (4, 1, 1, 70 * DAY)],
        [(1, 2, 3, 90 * DAY), (1, 1, 1, 90 * DAY)],
        [],
    )
    one = np.log(2)
    assert source.block(users).matrix.toarray() == pytest.approx(
        np.array([[one / 2, one, one / 2], [3 * np.log(4) + one, 0, 0], [0, 0, 0]])
    )


def test_with_a_half_life_in_days_intervals_say_nothing() -> None:
    config = RepeatConfig(half_life_days=20)
    source = Repeat(np.array([0, 1.0, 50.0]), np.array([-1, 0, 1]), 2, np.array([0.0, 1.0]), 100 * DAY, config)
    users = users_of([(1, 1, 1, 100 * DAY), (2, 1, 1, 80 * DAY)], [(1, 1, 3, 60 * DAY)])
    assert source.block(users).matrix.toarray() == pytest.approx(np.log(2) * np.array([[1, 0.5], [2 * 0.25, 0]]))
