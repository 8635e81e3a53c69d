from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.rank.train.sampling import Sample, sample_pairs

PAIRS = st.lists(st.lists(st.booleans(), max_size=12), min_size=1, max_size=8)


def sample(lists: list[list[bool]], seed: int, **limits: int) -> tuple[np.ndarray, np.ndarray, Sample]:
    user = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
    positive = np.array([value for row in lists for value in row], np.bool_)
    options = {"negatives": 3, "users_limit": 100, "judged_limit": 1} | limits
    return user, positive, sample_pairs(user, positive, len(lists), random=np.random.default_rng(seed), **options)


@settings(deadline=None)
@given(PAIRS, st.integers(0, 5))
def test_all_outcomes_are_taken_and_weights_stand_for_all_negatives(lists: list[list[bool]], seed: int) -> None:
    user, positive, taken = sample(lists, seed)
    assert np.array_equal(taken.pairs, np.unique(taken.pairs))
    assert set(np.flatnonzero(positive)) <= set(taken.pairs)
    assert (taken.weight[positive[taken.pairs]] == 1).all()
    for row, values in enumerate(lists):
        mine = (user[taken.pairs] == row) & ~positive[taken.pairs] & (taken.weight > 0)
        if any(values):
            assert mine.sum() == min(3, values.count(False))
            np.testing.assert_allclose(taken.weight[mine].sum(), values.count(False), rtol=1e-5)


@settings(deadline=None)
@given(PAIRS, st.integers(0, 5))
def test_users_without_an_outcome_are_as_many_and_stand_for_all_of_them(lists: list[list[bool]], seed: int) -> None:
    user, _, taken = sample(lists, seed)
    quiet = [row for row, values in enumerate(lists) if values and not any(values)]
    active = sum(any(values) for values in lists)
    weighted = np.unique(user[taken.pairs[taken.weight > 0]])
    chosen = [row for row in quiet if row in weighted]
    assert len(chosen) == min(len(quiet), max(active, 1))
    for row in chosen:
        total = taken.weight[user[taken.pairs] == row].sum()
        np.testing.assert_allclose(total, len(lists[row]) * len(quiet) / len(chosen), rtol=1e-5)


def test_a_judged_user_keeps_every_candidate() -> None:
    lists = [[True] + [False] * 20 for _ in range(5)]
    user, _, taken = sample(lists, 0, judged_limit=2)
    counts = np.bincount(user[taken.pairs], minlength=5)
    assert taken.judged.sum() == 2
    assert (counts[taken.judged] == 21).all()
    assert (counts[~taken.judged] == 4).all()


def test_the_limit_on_users_is_made_up_for_by_weight() -> None:
    lists = [[True, False] for _ in range(10)]
    _, positive, taken = sample(lists, 0, users_limit=4)
    assert (taken.weight[taken.weight > 0] == 2.5).all()
    assert positive[taken.pairs].sum() == 4
