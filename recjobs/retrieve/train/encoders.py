"""History encoders: vectors of events in time order to one vector at every position, causally.

All share one signature: `x` float32[B, P, D] (position 0 is the empty history), `event_day` and `query_day`
int64[B, P] (when each event was, and for when each position foresees), and give float32[B, P, D] where
row p depends on rows 0…p alone. How long ago an event was at the time that is foreseen enters as
a bucket of days, so that "yesterday" means the same in training and at night.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.chance import Dropout
from recjobs.retrieve.train.targets import BEFORE_ALL

AGE_STARTS = (0, 1, 2, 3, 5, 8, 15, 31, 61, 121, 241)
"""The first day of each bucket of ages; one more bucket is for the empty history's position."""
AGE_BUCKETS = len(AGE_STARTS) + 1
BUCKET_OF_DAY = np.append(np.searchsorted(AGE_STARTS, np.arange(AGE_STARTS[-1] + 1), side="right") - 1, AGE_BUCKETS - 1)
"""The bucket of each age from 0 to the last start, and of the empty history's position: int64."""
_MASKED = -1e9


def clipped_days(event_day: Any, query_day: Any) -> Any:
    """Ages in days as row numbers of BUCKET_OF_DAY: the last row is the empty history's position.

    An event after the query's day counts as of that day.
    """
    age = tf.clip_by_value(tf.cast(query_day - event_day, tf.int32), 0, AGE_STARTS[-1])
    return tf.where(event_day == BEFORE_ALL, AGE_STARTS[-1] + 1, age)


def age_bucket(event_day: Any, query_day: Any) -> Any:
    """The bucket in [0, AGE_BUCKETS) of an age in days."""
    return tf.gather(BUCKET_OF_DAY, clipped_days(event_day, query_day))


def encoder_of(kind: str, *, size: int, blocks: int, heads: int, dropout: float, length: int) -> Any:
    """The encoder that settings name; `length` is the longest history."""
    if kind == "mean":
        return MeanEncoder(length)
    if kind == "gru":
        return GruEncoder(size, dropout)
    return AttentionEncoder(size, blocks=blocks, heads=heads, dropout=dropout, length=length)


class _Bias(tf.Module):  # type: ignore[misc]
    """Learned attention bias by distance in the sequence and by age in days, for each head."""

    def __init__(self, heads: int, length: int) -> None:
        super().__init__(name="bias")
        self.by_distance = tf.Variable(tf.zeros([length + 1, heads]), name="distance_bias")
        self.by_age = tf.Variable(tf.zeros([AGE_BUCKETS, heads]), name="age_bias")

    def __call__(self, days: Any, mask: Any) -> Any:
        """float32[B, H, P, P] from clipped ages int32[B, P, P] and the causal mask [P, P]."""
        positions = tf.range(tf.shape(mask)[0])
        distance = tf.clip_by_value(positions[:, None] - positions[None, :], 0, tf.shape(self.by_distance)[0] - 1)
        by_distance = tf.transpose(tf.gather(self.by_distance, distance), [2, 0, 1])
        by_day = tf.gather(self.by_age, BUCKET_OF_DAY)
        by_age = tf.transpose(tf.gather(by_day, days), [0, 3, 1, 2])
        return by_distance[None] + by_age + (1.0 - mask) * _MASKED


def _ages(event_day: Any, query_day: Any) -> Any:
    """Ages int32[B, query, event] as rows of BUCKET_OF_DAY."""
    return clipped_days(event_day[:, None, :], query_day[:, :, None])


def _visible(x: Any, length: int) -> Any:
    """float32[P, P]: 1 where a position sees another: itself, the `length` - 1 before it, and the beginning."""
    positions = tf.range(tf.shape(x)[1])
    distance = positions[:, None] - positions[None, :]
    return tf.cast((distance >= 0) & ((distance < length) | (positions[None, :] == 0)), tf.float32)


class MeanEncoder(tf.Module):  # type: ignore[misc]
    """A weighted mean of the history; the weights depend on distance and age alone and start equal."""

    def __init__(self, length: int) -> None:
        super().__init__(name="mean_encoder")
        self.length = length
        self.bias = _Bias(1, length)

    def __call__(self, x: Any, event_day: Any, query_day: Any, training: bool) -> Any:
        del training
        return self.over(x, _ages(event_day, query_day), _visible(x, self.length))

    def over(self, x: Any, days: Any, mask: Any) -> Any:
        """The mean, from clipped ages and the mask of what is seen."""
        return tf.einsum("bpq,bqd->bpd", tf.nn.softmax(self.bias(days, mask)[:, 0]), x)


class GruEncoder(tf.Module):  # type: ignore[misc]
    """A gated recurrent unit (Cho et al. 2014) over the history, with the gap before each event."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__(name="gru_encoder")
        self.gap = tf.Variable(tf.random.normal([AGE_BUCKETS, size], stddev=0.02), name="gap_embedding")
        self.gru = tf.keras.layers.GRU(size, return_sequences=True)
        self.dropout = Dropout(dropout)

    def __call__(self, x: Any, event_day: Any, query_day: Any, training: bool) -> Any:
        del query_day
        before = tf.concat([event_day[:, :1], event_day[:, :-1]], axis=1)
        gaps = tf.one_hot(age_bucket(before, event_day), AGE_BUCKETS) @ self.gap
        return self.dropout(self.gru(x + gaps), training=training)


class AttentionEncoder(tf.Module):  # type: ignore[misc]
    """Pre-norm causal self-attention (Kang & McAuley 2018, with relative time as in Zhai et al. 2024, §3.1).

    The history's mean is added to the blocks' output. It is in the items' own space from the first step
    on, where the blocks must learn their way to it, for which short nights have too few steps.
    """

    def __init__(self, size: int, *, blocks: int, heads: int, dropout: float, length: int) -> None:
        super().__init__(name="attention_encoder")
        self.length = length
        self.mean = MeanEncoder(length)
        self.blocks = [_Block(size, heads, dropout, length) for _ in range(blocks)]

    def __call__(self, x: Any, event_day: Any, query_day: Any, training: bool) -> Any:
        days = _ages(event_day, query_day)
        mask = _visible(x, self.length)
        mean = self.mean.over(x, days, mask)
        for block in self.blocks:
            x = block(x, days, mask, training)
        return x + mean


class _Block(tf.Module):  # type: ignore[misc]
    """Attention and a feed-forward layer, each added to its input."""

    def __init__(self, size: int, heads: int, dropout: float, length: int) -> None:
        super().__init__(name="block")
        self.heads = heads
        self.bias = _Bias(heads, length)
        self.attention_norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.projections = tf.keras.layers.Dense(3 * size, use_bias=False)
        self.merge = tf.keras.layers.Dense(size)
        self.forward_norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.hidden = tf.keras.layers.Dense(2 * size, activation="gelu")
        self.output = tf.keras.layers.Dense(size)
        self.dropout = Dropout(dropout)

    def __call__(self, x: Any, days: Any, mask: Any, training: bool) -> Any:
        attended = self._attend(self.attention_norm(x), self.bias(days, mask), training)
        x = x + self.dropout(self.merge(attended), training=training)
        forward = self.output(self.dropout(self.hidden(self.forward_norm(x)), training=training))
        return x + self.dropout(forward, training=training)

    def _attend(self, x: Any, bias: Any, training: bool) -> Any:
        shape = tf.shape(x)
        split = tf.reshape(self.projections(x), [shape[0], shape[1], 3, self.heads, x.shape[-1] // self.heads])
        query, key, value = tf.unstack(split, axis=2)
        scale = (x.shape[-1] // self.heads) ** -0.5
        weights = tf.nn.softmax(tf.einsum("bphd,bqhd->bhpq", query, key) * scale + bias)
        mixed = tf.einsum("bhpq,bqhd->bphd", self.dropout(weights, training=training), value)
        return tf.reshape(mixed, [shape[0], shape[1], x.shape[-1]])
