from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.activity import Activity, activity
from recjobs.retrieve.train.targets import BEFORE_ALL

DAYS = st.lists(st.integers(1, 9), min_size=1, max_size=9).map(sorted)


def at_positions(days: list[int], query: list[int], length: int) -> Any:
    rows = [[BEFORE_ALL, *days]]
    return activity(tf.constant(rows, tf.int64), tf.constant([query], tf.int64), length).numpy()[0]


@given(DAYS, st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_each_position_counts_its_last_events(days: list[int], length: int) -> None:
    query = [day + 2 for day in (*days, days[-1] + 1)]
    found = at_positions(days, query, length)
    assert found[0].tolist() == [0, 0, 0]
    for position in range(1, len(days) + 1):
        seen = days[:position][-length:]
        assert found[position].tolist() == [len(seen), len(set(seen)), query[position] - seen[0]]


@given(DAYS, st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_a_position_in_training_and_the_history_at_night_agree(days: list[int], length: int) -> None:
    query = [day + 1 for day in (*days, days[-1])]
    whole = at_positions(days, query, length)
    for position in range(1, len(days) + 1):
        history = days[:position][-length:]
        night = at_positions(history, [query[position]] * (len(history) + 1), length)[-1]
        assert night.tolist() == whole[position].tolist()


def test_it_says_nothing_before_it_is_trained() -> None:
    days = tf.constant([[BEFORE_ALL, 3, 4]], tf.int64)
    assert not Activity(4, 2)(days, days + 1).numpy().any()


def test_an_empty_history_alone_is_no_error() -> None:
    assert np.array_equal(at_positions([], [5], 3), np.zeros((1, 3)))


def test_padding_after_the_history_changes_nothing() -> None:
    assert at_positions([1, 4, 0, 0], [5] * 5, 3)[:3] == pytest.approx(at_positions([1, 4], [5] * 3, 3))
