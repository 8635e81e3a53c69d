"""The user tower: history and side features as one vector, at every position of the history.

events: item representation + type ── dropout ── encoder ── norm ─┐
country, region, language, age band: hashed embeddings ──┐        + ── vector
declared columns, interests ──────── `about` ────────────┤        │
weekday, hour, device ────────────── `context` ──────────┤        │
user id (or the unknown id) ──────── embedding ──────────┴────────┤
days since the newest event ──────── embedding ───────────────────┤
events, active days ──────────────── linear ──────────────────────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recjobs import columns
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.about import About, hashed, known_rows
from recjobs.retrieve.train.activity import Activity
from recjobs.retrieve.train.chance import Dropout, uniform
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.context import Context
from recjobs.retrieve.train.encoders import AGE_BUCKETS, age_bucket, encoder_of
from recjobs.retrieve.train.targets import BEFORE_ALL
from recjobs.retrieve.user_features import NO_COLUMNS, SIDE_FIELDS, UserColumns


class UserTower(tf.Module):  # type: ignore[misc]
    """Histories and side features to vectors. Text is hashed inside, so that training and night agree."""

    def __init__(
        self,
        config: RetrieveTrainConfig,
        *,
        users: int,
        event_types: int,
        dislikes: Sequence[int] = (),
        about: About | None = None,
    ) -> None:
        super().__init__(name="user_tower")
        size = config.embedding_size
        self.config = config
        self.about = about
        self.context = Context(
            config.context, size=size, dropout=config.context_dropout, buckets=config.country_buckets
        )
        self.activity = Activity(size, config.sequence_length) if config.activity else None
        self.type_embedding = _table("type", event_types + 1, size)
        self.type_factor = _type_factor(event_types, dislikes) if dislikes else None
        self.start = _table("start", 1, size)
        self.age_embedding = _table("age", AGE_BUCKETS, size)
        read = [name for name in SIDE_FIELDS if name not in config.ignored_user_columns]
        self.side_embedding = {name: _table(name, config.country_buckets + 1, size) for name in read}
        self.user_embedding = _table("user", users + 1, size) if config.user_embedding else None
        self.encoder = encoder_of(
            config.encoder,
            size=size,
            blocks=config.blocks,
            heads=config.heads,
            dropout=config.dropout,
            length=config.sequence_length,
        )
        self.dropout = Dropout(config.dropout)
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)

    @property
    def further(self) -> UserColumns:
        """The declared columns of users that are read."""
        return NO_COLUMNS if self.about is None else self.about.columns

    def side_inputs(self) -> tuple[str, ...]:
        """The inputs that say one thing of a user, whatever the position."""
        return (*SIDE_FIELDS, columns.USER_INDEX, *self.further.inputs())

    def __call__(
        self, history: Any, event_type: Any, event_day: Any, query_day: Any, side: dict[str, Any], training: bool
    ) -> Any:
        """float32[B, H + 1, D]: row p is the user after p events.

        `history` float32[B, H, D] are item representations; `event_type`, `event_day` int64[B, H]; `query_day`
        int64[B, H + 1]; `side` the side features and `user_index`, each [B], the inputs of `about`, and hour and
        device of each position where the context has them, int64[B, H + 1].
        """
        about = self._side(side, training)[:, None, :]
        if self.type_factor is not None:
            history *= tf.gather(self.type_factor, event_type)
        kind = event_type if self.config.event_types else tf.zeros_like(event_type)
        events = history * history.shape[-1] ** 0.5 + tf.gather(self.type_embedding, kind)
        beginning = tf.tile(self.start[None], [tf.shape(history)[0], 1, 1]) + about
        x = self.dropout(tf.concat([beginning, events], axis=1), training=training)
        before = tf.fill([tf.shape(event_day)[0], 1], tf.constant(BEFORE_ALL, tf.int64))
        day = tf.concat([before, event_day], axis=1)
        seen = day if self.config.event_ages else _of_one_day(day, query_day)
        encoded = self.encoder(x, seen, query_day, training)
        newest = tf.one_hot(age_bucket(seen, query_day), AGE_BUCKETS) @ self.age_embedding
        if self.activity is not None:
            newest += self.activity(day, query_day)
        return self._vector(tf.add_n([self.norm(encoded + newest) + about, *self.context(query_day, side, training)]))

    def _vector(self, vectors: Any) -> Any:
        return tf.math.l2_normalize(vectors, axis=-1) if self.config.similarity == "cosine" else vectors

    def _side(self, side: dict[str, Any], training: bool) -> Any:
        """float32[B, D]: the sum of the embeddings of all that is known of the user."""
        parts = [tf.zeros([tf.shape(side[columns.USER_INDEX])[0], self.config.embedding_size])]
        parts += [
            known_rows(table, hashed(side[name], self.config.country_buckets))
            for name, table in self.side_embedding.items()
        ]
        if self.user_embedding is not None:
            parts.append(tf.gather(self.user_embedding, self._user(side[columns.USER_INDEX], training)))
        if self.about is not None:
            parts += self.about(side)
        return tf.add_n(parts)

    def _user(self, users: Any, training: bool) -> Any:
        if not training or not self.config.unknown_id_dropout:
            return users
        dropped = uniform(tf.shape(users)) < self.config.unknown_id_dropout
        return tf.where(dropped, tf.zeros_like(users), users)


def _type_factor(event_types: int, dislikes: Sequence[int]) -> Any:
    """What an item counts for by the event's type, learned from 1 on, from -1 for a dislike: float32[types + 1, 1].

    Without it a disliked item draws the history's mean to its like before anything is learned, and
    the few dislikes there are would have to unlearn that.
    """
    factor = [[-1.0 if code in dislikes else 1.0] for code in range(event_types + 1)]
    return tf.Variable(factor, name="type_factor")


def _of_one_day(day: Any, query_day: Any) -> Any:
    """`day` with every event on the latest day that is foreseen, so that all are 0 days old; the beginning stays."""
    return tf.where(day == BEFORE_ALL, day, tf.reduce_max(query_day))


def _table(name: str, rows: int, size: int) -> Any:
    return tf.Variable(tf.random.normal([rows, size], stddev=0.02), name=f"{name}_embedding")
