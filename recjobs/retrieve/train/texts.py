"""Texts as vectors: each text column's mean of the embeddings of its tokens, scaled by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recjobs.retrieve.framework import tf

TOKEN_DEVIATION = 0.02


def token_table(rows: int, size: int) -> Any:
    """The embeddings of the vocabulary's tokens, one table for all texts: variable float32[rows, D], row 0 unused."""
    return tf.Variable(tf.random.normal([rows, size], stddev=TOKEN_DEVIATION), name="token_embedding")


def mean_of_tokens(table: Any, tokens: Any) -> Any:
    """float32[N, D]: the mean of the rows of each row's tokens in int[N, T]; 0 is no token, no token gives zeros.

    Only known tokens are looked up, so that one long text does not make all others as long.
    """
    known = tf.where(tokens > 0)
    rows = tf.shape(tokens, out_type=tf.int64)[0]
    # Of a mean over nothing at all, TensorFlow 2.20 leaves the gradient uninitialised: one more row looks up row 0.
    found = tf.concat([tf.gather_nd(tokens, known), tf.zeros([1], tokens.dtype)], axis=0)
    of = tf.concat([known[:, 0], rows[None]], axis=0)
    return tf.sparse.segment_mean(table, found, of, num_segments=rows + 1)[:-1]


class Scales(tf.Module):  # type: ignore[misc]
    """A learned factor for each dimension of each text column but the first, 1 at first: what a word is worth there."""

    def __init__(self, columns: int, size: int) -> None:
        super().__init__(name="text_scales")
        self.factors = [tf.Variable(tf.ones([size]), name=f"text_scale_{column}") for column in range(1, columns)]

    def __call__(self, means: Sequence[Any]) -> Any:
        """float32[N, D]: the scaled sum of one float32[N, D] per text column."""
        scaled = [mean * factor for mean, factor in zip(means[1:], self.factors, strict=True)]
        return tf.add_n([means[0], *scaled])
