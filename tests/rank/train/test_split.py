from __future__ import annotations

import numpy as np
import pytest

from recjobs.rank.block import Block, Layout
from recjobs.rank.train.examples import Examples
from recjobs.rank.train.outcomes import NEVER
from recjobs.rank.train.split import split_examples


def examples(first: np.ndarray, window: np.ndarray | None = None) -> Examples:
    """One pair per user; folds 0, 10, 20, … so that a share of 0.2 holds out the first fifth of 100 users."""
    users = len(first)
    block = Block(Layout((), ()), np.zeros((users, 0), np.float32), np.zeros((users, 0), np.int32))
    return Examples(
        users=block,
        pairs=block,
        user=np.arange(users),
        item=np.ones(users, np.int64),
        first=first,
        weight=np.ones(users, np.float32),
        standard_score=np.zeros(users, np.float32),
        judged=np.ones(users, np.bool_),
        fold=np.arange(users, dtype=np.int32) * 10,
        window=np.ones(users, np.int32) if window is None else window,
    )


def test_the_latest_outcomes_are_held_out_by_time() -> None:
    first = np.full((100, 2), NEVER)
    first[::2, 0] = np.arange(50) + 1000
    split = split_examples(examples(first), 0.2)
    assert split.by_time
    assert split.boundary == 1039
    judged = split.judged_labels & split.judges[:, None]
    assert first[judged].min() == 1040
    assert first[split.labels].max() == 1039
    assert judged.sum() == 10
    assert split.labels.sum() == 40


def test_a_pair_the_trial_knew_is_not_judged() -> None:
    first = np.full((100, 2), NEVER)
    first[:50, 0] = np.arange(50) + 1000
    first[0, 1] = 1049
    split = split_examples(examples(first), 0.2)
    assert not split.judges[0]
    assert not (split.judges & split.labels.any(axis=1)).any()


def test_held_out_users_are_never_learnt_from() -> None:
    first = np.arange(200).reshape(100, 2) + 1000
    split = split_examples(examples(first), 0.2)
    assert split.calibrates.sum() == 20
    assert not (split.calibrates & split.learnt).any()


@pytest.mark.parametrize("outcomes", [100, 1])
def test_outcomes_of_one_instant_are_divided_by_user(outcomes: int) -> None:
    first = np.full((100, 1), NEVER)
    first[:outcomes] = 1000
    split = split_examples(examples(first), 0.2)
    assert not split.by_time
    assert "held-out users" in split.describe()
    assert np.array_equal(split.judges, split.calibrates)
    assert not (split.judges & split.learnt).any()
    assert np.array_equal(split.judged_labels, first < NEVER)


def test_no_outcome_at_all() -> None:
    split = split_examples(examples(np.full((10, 1), NEVER)), 0.2)
    assert not split.labels.any()
    assert not split.judged_labels.any()


def test_of_several_windows_the_last_is_held_out_whole() -> None:
    first = np.full((100, 1), NEVER)
    first[:20, 0] = np.arange(20) + 1000
    first[60:80, 0] = np.arange(20) + 2000
    last = np.arange(100) >= 50
    split = split_examples(examples(first, np.where(last, 1, 2).astype(np.int32)), 0.2)
    assert split.by_time
    assert split.boundary == 1019
    assert not (split.learnt | split.calibrates)[last].any()
    assert np.array_equal(np.flatnonzero(split.learnt), np.arange(20, 50)), "held-out users' folds are below 200"
    assert np.array_equal(np.flatnonzero((split.judged_labels & split.judges[:, None]).any(axis=1)), np.arange(60, 80))
