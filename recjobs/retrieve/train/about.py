"""What users' declared columns and texts say of them, as one vector.

categorical: hashed embeddings ──────────────────┐
texts: mean of token embeddings by column, linear ┼ + ── vector
numeric: standardised, with flags, linear ─────────┤
ready-made vectors: of length 1, linear by column ┘
"""

from __future__ import annotations

from typing import Any

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.known_users import KnownUsers
from recjobs.retrieve.train.texts import mean_of_tokens
from recjobs.retrieve.user_features import CATEGORICAL, NUMERIC, TOKENS, VECTORS

WIDEST = 6.0
"""Deviations from the mean at which a number is cut: one wrong number must not drown all else."""
_DEVIATION = 0.02


class About(tf.Module):  # type: ignore[misc]
    """Declared columns of users to float32[B, D]; zeros where nothing is known.

    `tokens` is the embedding of the vocabulary's tokens, shared with the item tower; it may be None
    where no text column has a token.
    """

    def __init__(self, known: KnownUsers, *, size: int, buckets: int, tokens: Any = None) -> None:
        super().__init__(name="about")
        self.columns = columns = known.columns
        self.buckets = buckets
        self.token_embedding = tokens
        self.categorical = [
            _table(f"user_categorical_{place}", buckets + 1, size) for place in _of(columns.categorical)
        ]
        self.texts = [tf.keras.layers.Dense(size, use_bias=False) for _ in columns.text]
        self.numeric = _linear(size) if columns.numeric else None
        self.ready_made = [_linear(size) for _ in columns.vectors]
        self.centre = tf.Variable(known.centre, trainable=False, name="user_numeric_centre")
        self.deviation = tf.Variable(known.deviation, trainable=False, name="user_numeric_deviation")

    def __call__(self, side: dict[str, Any]) -> list[Any]:
        """float32[B, D] for each thing that is known, from the inputs of `user_features` that there are."""
        parts = [
            known_rows(table, hashed(side[CATEGORICAL][:, place], self.buckets))
            for place, table in enumerate(self.categorical)
        ]
        parts += [
            linear(mean_of_tokens(self.token_embedding, side[TOKENS][:, place, :]))
            for place, linear in enumerate(self.texts)
        ]
        if self.numeric is not None:
            parts.append(self.numeric(self._standardised(side[NUMERIC])))
        return parts + self._vectors(side)

    def _vectors(self, side: dict[str, Any]) -> list[Any]:
        """float32[B, D] for each column of ready-made vectors; zeros for a user without one."""
        if not self.ready_made:
            return []
        given = tf.split(side[VECTORS], self.columns.widths, axis=1)
        return [linear(tf.math.l2_normalize(one, axis=1)) for linear, one in zip(self.ready_made, given, strict=True)]

    def _standardised(self, values: Any) -> Any:
        """float32[B, 2 N]: the values with mean 0 and deviation 1 (0 where missing), then 1 where missing."""
        missing = tf.logical_not(tf.math.is_finite(values))
        scaled = tf.clip_by_value((values - self.centre) / self.deviation, -WIDEST, WIDEST)
        return tf.concat([tf.where(missing, 0.0, scaled), tf.cast(missing, tf.float32)], axis=1)


def hashed(text: Any, buckets: int) -> Any:
    """The bucket of each text in [1, buckets], 0 for an empty one; the same in every process and version."""
    return tf.where(text == "", tf.zeros([], tf.int64), tf.strings.to_hash_bucket_fast(text, buckets) + 1)


def known_rows(table: Any, indexes: Any) -> Any:
    """The rows of `table`, zeros for index 0."""
    return tf.gather(table, indexes) * tf.cast(indexes > 0, tf.float32)[:, None]


def _of(columns: tuple[str, ...]) -> range:
    return range(len(columns))


def _table(name: str, rows: int, size: int) -> Any:
    return tf.Variable(tf.random.normal([rows, size], stddev=_DEVIATION), name=name)


def _linear(size: int) -> Any:
    return tf.keras.layers.Dense(
        size, use_bias=False, kernel_initializer=tf.keras.initializers.RandomNormal(0, _DEVIATION)
    )
