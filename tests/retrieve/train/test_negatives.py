"""Planted: with known vectors, the gradient of sampled softmax against that of the softmax over all items."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.negatives import NegativeSampling

ITEMS, TARGETS, SIZE = 60, 24, 6
COUNTS = np.array([0, *np.round(400 / np.arange(1, ITEMS + 1) ** 1.2).astype(int)], np.int64)
USERS = tf.random.stateless_normal([TARGETS, SIZE], [1, 1])
TABLE = tf.random.stateless_normal([ITEMS + 1, SIZE], [1, 2])
WEIGHT = tf.ones([TARGETS])


def sampling(sampled: int, power: float = 0.0, logq: bool = True) -> NegativeSampling:
    return NegativeSampling(COUNTS, sampled=sampled, power=power, logq=logq, temperature=1.0)


def drawn_targets(seed: int) -> npt.NDArray[np.int32]:
    share = COUNTS / COUNTS.sum()
    return np.random.default_rng(seed).choice(ITEMS + 1, TARGETS, p=share).astype(np.int32)


def gradient(loss_of: Any) -> npt.NDArray[np.float64]:
    with tf.GradientTape() as tape:
        tape.watch(USERS)
        loss = loss_of()
    found: npt.NDArray[np.float64] = tape.gradient(loss, USERS).numpy().astype(np.float64)
    return found


def sampled_gradient(negatives: NegativeSampling, targets: Any, seed: int) -> npt.NDArray[np.float64]:
    items = tf.concat([targets, negatives.draw(tf.constant([seed, 0]))], axis=0)
    return gradient(lambda: negatives.loss(USERS, tf.gather(TABLE, items), items, WEIGHT))


def full_gradient(targets: Any) -> npt.NDArray[np.float64]:
    logits = lambda: tf.matmul(USERS, TABLE[1:], transpose_b=True)  # noqa: E731
    return gradient(lambda: tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(targets - 1, logits())))


def distance(negatives: NegativeSampling, rounds: int = 8) -> float:
    """The mean distance of the sampled gradient from the full one, as a share of its length."""
    found = []
    for seed in range(rounds):
        targets = drawn_targets(seed)
        full = full_gradient(targets)
        found.append(np.linalg.norm(sampled_gradient(negatives, targets, seed) - full) / np.linalg.norm(full))
    return float(np.mean(found))


@pytest.mark.parametrize("power", [0.5, *(pytest.param(one, marks=pytest.mark.slow) for one in (0.0, 1.0))])
def test_the_gradient_approaches_that_of_the_full_softmax_as_negatives_grow(power: float) -> None:
    distances = [distance(sampling(count, power)) for count in (0, 100, 1000, 10_000)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.05


def test_without_the_correction_it_stays_away_and_pushes_popular_items_down() -> None:
    assert distance(sampling(10_000, 1.0, logq=False)) > 0.3
    targets = drawn_targets(0)

    def push_on_items(negatives: NegativeSampling) -> npt.NDArray[np.float64]:
        items = tf.concat([targets, negatives.draw(tf.constant([0, 0]))], axis=0)
        with tf.GradientTape() as tape:
            tape.watch(TABLE)
            loss = negatives.loss(USERS, tf.gather(TABLE, items), items, WEIGHT)
        pushed: npt.NDArray[np.float64] = np.linalg.norm(tf.convert_to_tensor(tape.gradient(loss, TABLE)), axis=1)
        return pushed / pushed.sum()

    unwanted = ~np.isin(np.arange(ITEMS + 1), targets)
    popular = unwanted & (float(np.median(COUNTS)) < COUNTS)
    with_correction, without = (push_on_items(sampling(5000, 1.0, logq)) for logq in (True, False))
    assert without[popular].sum() > 1.3 * with_correction[popular].sum()


def test_negatives_are_drawn_in_the_declared_proportions() -> None:
    counts = np.array([0, 16, 4, 1, 0], np.int64)
    for power, shares in ((0.0, [1 / 3] * 3), (0.5, [4 / 7, 2 / 7, 1 / 7]), (1.0, [16 / 21, 4 / 21, 1 / 21])):
        negatives = NegativeSampling(counts, sampled=20_000, power=power, logq=True, temperature=1.0)
        found = np.bincount(negatives.draw(tf.constant([1, 2])).numpy(), minlength=5)
        assert found[[0, 4]].tolist() == [0, 0], "an item without an event is no negative"
        assert found[1:4] / 20_000 == pytest.approx(shares, abs=0.015)


def test_one_target_and_no_negative_is_no_loss() -> None:
    found = sampling(0).loss(USERS[:1], TABLE[3:4], tf.constant([3]), WEIGHT[:1])
    assert float(found) == 0
