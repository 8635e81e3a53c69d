from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.context import Context, hour, weekday
from recjobs.retrieve.user_features import DEVICE, HOUR

START = datetime(1970, 1, 1, tzinfo=UTC)
DAY = tf.constant([[20_000, 20_001]] * 2000, tf.int64)
NO_HOUR = {HOUR: tf.zeros_like(DAY)}


def context(*parts: str, dropout: float = 0.0) -> Context:
    built = Context(parts, size=2, dropout=dropout, buckets=10)
    for table in built.embedding.values():
        rows = np.arange(table.shape[0], dtype=np.float32)
        table.assign(np.stack([rows, -rows], axis=1))
    return built


def first(values: list[Any]) -> Any:
    assert len(values) == 1
    return values[0].numpy()[:, :, 0]


def test_weekdays_and_hours_are_those_of_the_calendar() -> None:
    days = list(range(0, 40_000, 373))
    assert weekday(tf.constant(days)).numpy().tolist() == [(START + timedelta(days=d)).isoweekday() for d in days]
    seconds = [0, 3_599, 3_600, 86_399, 86_400, 1_790_000_000]
    expected = [(START + timedelta(seconds=s)).hour + 1 for s in seconds]
    assert hour(tf.constant(seconds, tf.int64)).numpy().tolist() == expected


def test_nothing_is_read_that_is_not_chosen() -> None:
    assert context()(DAY, {}, training=True) == []


def test_the_weekday_is_never_hidden() -> None:
    found = first(context("weekday", dropout=0.9)(DAY, {}, training=True))
    assert (found == [[5.0, 6.0]]).all()


def test_hours_are_hidden_in_training_and_an_unknown_one_is_the_hidden_row() -> None:
    hours = {HOUR: tf.constant([[5, 7]] * 2000, tf.int64)}
    tf.random.set_seed(1)
    found = first(context("hour", dropout=0.25)(DAY, hours, training=True))
    hidden = (found == 0).all(axis=1)
    assert hidden.mean() == pytest.approx(0.25, abs=0.04)
    assert (found[~hidden] == [5, 7]).all()
    assert (first(context("hour", dropout=0.25)(DAY, hours, training=False)) == [5, 7]).all()
    assert (first(context("hour", dropout=0.25)(DAY, NO_HOUR, training=False)) == 0).all()


def test_a_device_has_the_row_of_its_code_and_is_hidden_in_training() -> None:
    devices = {DEVICE: tf.constant([[43, 2**32 - 1]] * 2000, tf.int64)}
    assert (first(context("device", dropout=0.4)(DAY, devices, training=False)) == [4, 6]).all()
    tf.random.set_seed(1)
    found = first(context("device", dropout=0.4)(DAY, devices, training=True))
    assert (found == 0).all(axis=1).mean() == pytest.approx(0.4, abs=0.04)
    unknown = {DEVICE: tf.zeros_like(DAY)}
    assert (first(context("device")(DAY, unknown, training=True)) == 0).all()
