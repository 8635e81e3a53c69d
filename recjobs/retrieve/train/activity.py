"""How active a user is, at every position of the history, from the history alone.

Counted over the last `length` events before the position, which is all that a nightly history has:
so a position in training and the same history at night give the same numbers.
"""

from __future__ import annotations

from typing import Any

from recjobs.retrieve.framework import tf


class Activity(tf.Module):  # type: ignore[misc]
    """Events, active days and days since the oldest event to float32[B, P, D], linearly. It starts at zero."""

    def __init__(self, size: int, length: int) -> None:
        super().__init__(name="activity")
        self.length = length
        self.linear = tf.keras.layers.Dense(size, use_bias=False, kernel_initializer="zeros")

    def __call__(self, day: Any, query_day: Any) -> Any:
        """`day` int64[B, P] is each event's day, the first position being the empty history's; `query_day` int64[B, P]
        is the day that each position foresees."""
        return self.linear(tf.math.log1p(activity(day, query_day, self.length)))


def activity(day: Any, query_day: Any, length: int) -> Any:
    """float32[B, P, 3]: at position p, of the last `length` of its p events, their number, the number of days
    with one, and the days from the oldest to the one that is foreseen. Zeros for the empty history.

    Row p depends on the positions up to p alone; days do not fall along a row.
    """
    positions = tf.range(tf.shape(day)[1])
    first = tf.minimum(tf.maximum(positions - length + 1, 1), positions)
    new_day = tf.cast(day[:, 1:] != day[:, :-1], tf.int64)
    days = tf.cumsum(tf.concat([tf.zeros_like(day[:, :1]), new_day], axis=1), axis=1)
    active = days - tf.gather(days, first, axis=1) + 1
    span = tf.maximum(query_day - tf.gather(day, first, axis=1), 0)
    count = tf.cast(tf.zeros_like(day) + tf.cast(tf.minimum(positions, length), tf.int64), tf.float32)
    has = tf.cast(positions > 0, tf.float32)[None, :]
    return tf.stack([count, tf.cast(active, tf.float32) * has, tf.cast(span, tf.float32) * has], axis=2)
