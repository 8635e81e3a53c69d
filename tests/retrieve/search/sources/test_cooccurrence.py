from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.retrieve.search.sources.config import CooccurrenceConfig
from recjobs.retrieve.search.sources.cooccurrence import Cooccurrence, Sequences, neighbours, pair_weights
from recjobs.retrieve.search.sources.scores import csr
from tests.retrieve.search.sources.people import users_of

ITEMS = 5


def sequences(events: list[tuple[int, int, int]]) -> Sequences:
    """Of (user, item, time)."""
    table = np.array(sorted(events, key=lambda event: (event[0], event[2])), np.int64).reshape(-1, 3)
    return Sequences(*table.T)


@settings(max_examples=80, deadline=None)
@given(
    events=st.lists(st.tuples(st.integers(0, 2), st.integers(1, ITEMS), st.integers(0, 6)), max_size=25),
    reach=st.integers(1, 6),
    longest=st.integers(2, 8),
)
def test_pairs_are_those_of_a_plain_count(events: list[tuple[int, int, int]], reach: int, longest: int) -> None:
    config = CooccurrenceConfig(reach=reach, backward=0.25, longest=longest)
    stream = sequences(events)
    wanted = np.zeros((ITEMS + 1, ITEMS + 1))
    for user in range(3):
        rows = np.flatnonzero(stream.user == user)[-longest:]
        own = list(zip(stream.item[rows], stream.time[rows], strict=True))
        moments = sorted({time for _, time in own})
        for first in range(len(own)):
            for second in range(first + 1, min(first + reach + 1, len(own))):
                (a, before), (b, after) = own[first], own[second]
                apart = moments.index(after) - moments.index(before)
                if a != b:
                    wanted[a, b] += 1 / max(apart, 1)
                    wanted[b, a] += (0.25 if apart else 1.0) / max(apart, 1)
    assert pair_weights(stream, ITEMS, config).toarray() == pytest.approx(wanted)


def test_neighbours_are_normalised_by_popularity_best_first_ties_by_item() -> None:
    weights = csr(np.array([4.0, 4.0, 1.0, 3.0]), np.array([1, 1, 1, 2]), np.array([2, 3, 4, 1]), (6, 6))
    config = CooccurrenceConfig(damping_from=1.0, damping_to=0.5, shrinkage=0.0, neighbours=2)
    row, column, score = neighbours(weights, np.array([0, 2, 16, 16, 1, 0.0]), config)
    assert list(zip(row.tolist(), column.tolist(), strict=True)) == [(1, 2), (1, 3), (2, 1)]
    assert score == pytest.approx([4 / 2 / 4, 4 / 2 / 4, 3 / 16 / 2**0.5])


def scores_of(user: list[tuple[int, int, int, int]], **overrides: Any) -> list[float]:
    similarity = csr(np.ones(ITEMS), np.arange(1, ITEMS + 1), np.arange(ITEMS), (ITEMS + 1, ITEMS))
    config = CooccurrenceConfig(recency=0.5, **overrides)
    source = Cooccurrence(similarity, np.array([0.0, 1.0, 4.0]), config)
    return list(source.block(users_of(user)).matrix.toarray()[0])


def test_an_event_weighs_by_its_type_and_halves_with_every_later_moment() -> None:
    user = [(1, 1, 1, 90), (2, 1, 1, 90), (3, 2, 1, 80), (4, 1, 1, 10)]
    assert scores_of(user) == [1.0, 1.0, 2.0, 0.25, 0.0]


def test_only_the_latest_pairs_speak_and_each_user_starts_anew() -> None:
    assert scores_of([(1, 1, 1, 90), (2, 1, 1, 80)], events=1) == [1.0, 0.0, 0.0, 0.0, 0.0]
    similarity = csr(np.ones(ITEMS), np.arange(1, ITEMS + 1), np.arange(ITEMS), (ITEMS + 1, ITEMS))
    source = Cooccurrence(similarity, np.array([0.0, 1.0]), CooccurrenceConfig(recency=0.5))
    users = users_of([(1, 1, 1, 90), (2, 1, 1, 80)], [], [(3, 1, 1, 70)])
    assert source.block(users).matrix.toarray().tolist() == [[1, 0.5, 0, 0, 0], [0] * 5, [0, 0, 1, 0, 0]]
