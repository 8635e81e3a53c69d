from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.rank.train.config import RankTrainConfig
from recjobs.rank.train.fit import batch_size, listwise_loss, user_batches


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 5), max_size=12), size=st.integers(1, 8), seed=st.integers(0, 3))
def test_batches_hold_whole_users_and_every_pair_once(lengths: list[int], size: int, seed: int) -> None:
    user = np.repeat(np.arange(len(lengths)), lengths)
    batches = user_batches(user, size, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(user)))
    users = [set(user[batch].tolist()) for batch in batches]
    assert all(not before & after for before, after in pairwise(users))
    assert all(len(batch) < size + 5 for batch in batches)


def test_the_order_of_users_follows_the_seed() -> None:
    user = np.repeat(np.arange(50), 2)
    first, again, other = (np.concatenate(user_batches(user, 10, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_the_loss_is_the_surprise_at_each_outcome_among_its_users_pairs() -> None:
    logits = np.array([[1.0, 0.0], [2.0, 5.0], [-1.0, 1.0], [900.0, 0.0]], np.float32)
    labels = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]], np.float32)
    user = np.array([0, 0, 0, 1], np.int32)
    first = -np.log(np.exp(1.0) / np.exp([1.0, 2.0, -1.0]).sum())
    second = -np.log(np.exp(5.0) / np.exp([0.0, 5.0, 1.0]).sum())
    assert float(listwise_loss(logits, labels, user)) == pytest.approx(first + second, rel=1e-5)


def test_a_users_pairs_all_moved_alike_lose_nothing() -> None:
    logits, labels = np.array([[1.0], [2.0], [0.5]], np.float32), np.array([[0.0], [1.0], [0.0]], np.float32)
    user = np.array([0, 0, 1], np.int32)
    moved = logits + np.array([[7.0], [7.0], [-3.0]], np.float32)
    assert float(listwise_loss(moved, labels, user)) == pytest.approx(float(listwise_loss(logits, labels, user)))


@given(st.integers(1, 2_000_000), st.integers(1, 8), st.integers(0, 2000))
def test_few_pairs_are_learnt_in_smaller_batches(pairs: int, epochs: int, steps: int) -> None:
    config = RankTrainConfig(epochs=epochs, min_steps=steps)
    size = batch_size(pairs, config)
    assert 64 <= size <= config.batch_size
    made = epochs * -(-pairs // size)
    assert made >= steps or size == 64
    assert size == config.batch_size or epochs * pairs // (size + 1) <= steps
