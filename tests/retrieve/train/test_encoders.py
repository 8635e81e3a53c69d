from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.encoders import AGE_BUCKETS, age_bucket, encoder_of
from recjobs.retrieve.train.targets import BEFORE_ALL

KINDS = ("mean", "gru", "attention")
POSITIONS, SIZE = 7, 8


def encoder(kind: str, length: int = 20) -> Any:
    tf.keras.utils.set_random_seed(1)
    built = encoder_of(kind, size=SIZE, blocks=2, heads=2, dropout=0.5, length=length)
    x, event_day, query_day = history()
    built(x, event_day, query_day, False)
    for variable in built.trainable_variables:
        variable.assign(tf.random.normal(variable.shape, stddev=0.5))
    return built


def history() -> tuple[Any, Any, Any]:
    x = tf.random.stateless_normal([2, POSITIONS, SIZE], [1, 2])
    event_day = tf.constant([[BEFORE_ALL, 1, 1, 3, 9, 40, 300]] * 2, tf.int64)
    query_day = tf.constant([[1, 1, 3, 9, 40, 300, 301]] * 2, tf.int64)
    return x, event_day, query_day


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", [1, 4])
def test_no_position_depends_on_what_comes_after_it(kind: str, position: int) -> None:
    built = encoder(kind)
    x, event_day, query_day = history()
    before = built(x, event_day, query_day, False).numpy()
    later = np.arange(POSITIONS) > position
    changed = built(
        tf.where(later[None, :, None], x + 3.0, x),
        tf.where(later[None, :], event_day + 100, event_day),
        tf.where(later[None, :], query_day + 100, query_day),
        False,
    ).numpy()
    assert changed[:, : position + 1] == pytest.approx(before[:, : position + 1], abs=1e-5)
    assert np.abs(changed[:, position + 1 :] - before[:, position + 1 :]).max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_padding_after_the_history_changes_nothing(kind: str) -> None:
    built = encoder(kind)
    x, event_day, query_day = history()
    whole = built(x, event_day, query_day, False).numpy()
    short = built(x[:, :4], event_day[:, :4], query_day[:, :4], False).numpy()
    assert whole[:, :4] == pytest.approx(short, abs=1e-5)


@pytest.mark.parametrize("kind", ["mean", "attention"])
def test_how_long_ago_an_event_was_matters(kind: str) -> None:
    built = encoder(kind)
    x, event_day, query_day = history()
    assert np.abs(built(x, event_day, query_day, False) - built(x, event_day, query_day + 30, False)).max() > 0.01


def test_only_the_newest_events_and_the_beginning_are_seen() -> None:
    built = encoder("mean", length=2)
    x, event_day, query_day = history()
    changed = tf.tensor_scatter_nd_add(x, [[0, 3]], tf.ones([1, SIZE]))
    moved = np.abs(built(changed, event_day, query_day, False) - built(x, event_day, query_day, False)).max(axis=(0, 2))
    assert (moved > 1e-4).tolist() == [False, False, False, True, True, False, False]


def test_an_untrained_mean_is_the_mean() -> None:
    built = encoder_of("mean", size=SIZE, blocks=1, heads=1, dropout=0, length=20)
    x, event_day, query_day = history()
    assert built(x, event_day, query_day, False)[:, 4].numpy() == pytest.approx(x[:, :5].numpy().mean(axis=1), abs=1e-5)


def test_age_buckets_separate_the_last_days_and_keep_the_beginning_apart() -> None:
    ages = [-3, 0, 1, 2, 3, 4, 5, 240, 241, 9999]
    buckets = age_bucket(tf.constant([1000] * len(ages), tf.int64), tf.constant([1000 + age for age in ages], tf.int64))
    assert buckets.numpy().tolist() == [0, 0, 1, 2, 3, 3, 4, 9, 10, 10]
    assert age_bucket(tf.constant([BEFORE_ALL], tf.int64), tf.constant([5], tf.int64)).numpy() == [AGE_BUCKETS - 1]
