"""The context of what is foreseen: weekday, hour and device of a visit, as one vector for every position.

The weekday of the day a nightly list is for is known at night. The hour is not, and the device of some users is not: in
training they are hidden at random, so that the row for "unknown" stands for what is usual. Devices are hashed, so that
a device has the same row on every night. Where all events of a day are foreseen from one position, its hour and device
are those of the day's first event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.chance import uniform
from recjobs.retrieve.user_features import DEVICE, HOUR

WEEKDAY, HOURS = "weekday", "hour"
ROWS = {WEEKDAY: 8, HOURS: 25}
"""Rows of each embedding; 0 is unknown."""
_MONDAY = 3
"""Days from a Monday to the first day of Unix time."""


class Context(tf.Module):  # type: ignore[misc]
    """The chosen parts of the context to their sum, float32[B, P, D]. All start at zero: at first it says nothing."""

    def __init__(self, parts: Sequence[str], *, size: int, dropout: float, buckets: int = 1) -> None:
        super().__init__(name="context")
        self.dropout = dropout
        self.buckets = buckets
        rows = ROWS | {DEVICE: buckets + 1}
        self.embedding = {name: tf.Variable(tf.zeros([rows[name], size]), name=f"{name}_embedding") for name in parts}

    def __call__(self, query_day: Any, side: dict[str, Any], training: bool) -> list[Any]:
        """A float32[B, P, D] for each part, from `query_day` int64[B, P] and hour and device int64[B, P] in `side`."""
        found = []
        if WEEKDAY in self.embedding:
            found.append(tf.gather(self.embedding[WEEKDAY], weekday(query_day)))
        if HOURS in self.embedding:
            found.append(tf.gather(self.embedding[HOURS], self._hidden(side[HOUR], training)))
        if DEVICE in self.embedding:
            rows = bucket(self._hidden(side[DEVICE], training), self.buckets)
            found.append(tf.gather(self.embedding[DEVICE], rows))
        return found

    def _hidden(self, values: Any, training: bool) -> Any:
        """`values`, 0 at random in training: for a whole row at once, as at night."""
        if not training or not self.dropout:
            return values
        hidden = uniform(tf.shape(values)[:1]) < self.dropout
        return tf.where(hidden[:, None], tf.zeros_like(values), values)


def weekday(day: Any) -> Any:
    """1 for Monday … 7 for Sunday, of days since 1970-01-01."""
    return (day + _MONDAY) % 7 + 1


def bucket(code: Any, buckets: int) -> Any:
    """The row of each code: 1…`buckets`, 0 for 0."""
    return tf.where(code > 0, code % buckets + 1, tf.zeros_like(code))


def hour(seconds: Any) -> Any:
    """1 for the hour that begins at midnight UTC … 24, of Unix seconds."""
    return seconds % 86_400 // 3_600 + 1
