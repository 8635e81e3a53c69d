"""The two towers together, and the loss that draws users to what they did next.

The softmax is over all items with an event where the catalogue is small. Above that, the negatives
are the other targets of the batch, corrected for how often each is drawn (logQ; Yi et al. 2019, eq. 4),
without those that happen to be the target itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recjobs import columns
from recjobs.retrieve.framework import tf, tfrs
from recjobs.retrieve.item_features import ItemFeatures
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.sequences import FIRST_TARGET
from recjobs.retrieve.train.targets import SECONDS_A_DAY, TargetRule, Targets, shuffle_ties
from recjobs.retrieve.train.user_tower import UserTower
from recjobs.retrieve.user_features import EVENT_FIELDS, EVENT_TYPE, ITEM, SIDE_FIELDS, TIME


class Loss(NamedTuple):
    """The weighted sum of the cross-entropies of a batch, and the sum of the weights."""

    total: Any
    weight: Any


class Pairs(NamedTuple):
    """The T targets of a batch: the row of `users` each is foreseen from int32[T], its item int32[T], its weight."""

    row: Any
    item: Any
    weight: Any


class TwoTower(tf.Module):  # type: ignore[misc]
    """Both towers; `loss_of` is their objective on one batch of windows."""

    def __init__(
        self,
        items: ItemTower,
        users: UserTower,
        features: ItemFeatures,
        rule: TargetRule,
        config: RetrieveTrainConfig,
    ) -> None:
        super().__init__(name="two_tower")
        self.items = items
        self.users = users
        self.rule = rule
        self.config = config
        self.full_softmax = features.warm < config.full_softmax_below
        self.frequency = tf.constant((features.counts / max(1, features.counts.sum())).astype(np.float32))
        self.task = tfrs.tasks.Retrieval(temperature=config.temperature, remove_accidental_hits=True)

    def loss_of(self, batch: dict[str, Any], seed: Any) -> Loss:
        """The batch's loss; `seed` int32[2] draws the order within baskets."""
        events = shuffle_ties({field: batch[field] for field in EVENT_FIELDS}, seed)
        catalogue = self._catalogue(events[ITEM])
        users = self._user_vectors(events, catalogue, batch)
        pairs = _pairs(self.rule.targets(events, batch[FIRST_TARGET]), events[ITEM])
        rows = tf.reshape(users, [-1, self.config.embedding_size])
        if self.full_softmax:
            return _full_softmax(rows, pairs, self.items.vector(catalogue.representation[1:]), self.config.temperature)
        return self._in_batch_softmax(rows, pairs, catalogue)

    def _catalogue(self, items: Any) -> _Catalogue:
        """The items of this step: all with an event, or those of the batch."""
        if self.full_softmax:
            indexes = tf.range(self.items.warm + 1)
        else:
            indexes = tf.sort(tf.unique(tf.cast(tf.reshape(items, [-1]), tf.int32)).y)
        representation, history = self.items.both(indexes, self.config.unknown_id_dropout)
        return _Catalogue(indexes, representation, history, self.full_softmax)

    def _user_vectors(self, events: dict[str, Any], catalogue: _Catalogue, batch: dict[str, Any]) -> Any:
        """float32[B, E, D]: the user before each event, as of that event's day."""
        day = events[TIME] // SECONDS_A_DAY
        return self.users(
            catalogue.history_of(tf.cast(events[ITEM][:, :-1], tf.int32)),
            events[EVENT_TYPE][:, :-1],
            day[:, :-1],
            day,
            {name: batch[name] for name in (*SIDE_FIELDS, columns.USER_INDEX)},
            training=True,
        )

    def _in_batch_softmax(self, users: Any, pairs: Pairs, catalogue: _Catalogue) -> Loss:
        total = self.task(
            tf.gather(users, pairs.row),
            self.items.vector(catalogue.rows_of(pairs.item)),
            sample_weight=pairs.weight,
            candidate_sampling_probability=tf.gather(self.frequency, pairs.item),
            candidate_ids=pairs.item,
            compute_metrics=False,
        )
        return Loss(total, tf.reduce_sum(pairs.weight))


class _Catalogue(NamedTuple):
    """Sorted item indexes and their representations; `complete` when the indexes are 0…n."""

    indexes: Any
    representation: Any
    history: Any
    complete: bool

    def rows_of(self, items: Any) -> Any:
        """The representations of int32[…] items as candidates, all among `indexes`."""
        return tf.gather(self.representation, self._places(items))

    def history_of(self, items: Any) -> Any:
        """The representations of int32[…] items as events, all among `indexes`."""
        return tf.gather(self.history, self._places(items))

    def _places(self, items: Any) -> Any:
        if self.complete:
            return items
        flat = tf.searchsorted(self.indexes, tf.reshape(items, [-1]))
        return tf.reshape(flat, tf.shape(items))


def _pairs(targets: Targets, items: Any) -> Pairs:
    """The targets of positive weight, with rows of the users' vectors flattened to [B × E, D]."""
    shape = tf.shape(items)
    row = tf.range(shape[0])[:, None] * shape[1] + targets.position
    real = tf.where(targets.weight > 0)
    return Pairs(
        tf.gather_nd(row, real), tf.cast(tf.gather_nd(items, real), tf.int32), tf.gather_nd(targets.weight, real)
    )


def _full_softmax(users: Any, pairs: Pairs, items: Any, temperature: float) -> Loss:
    """Cross-entropy over all items (rows of `items` are items 1…): each row of `users` is scored once for its targets.

    Σ w (log Σ exp(u·v / t) - u·v⁺ / t), the first term weighted by the sum of the row's targets.
    """
    rows, place = tf.unique(pairs.row)
    vectors = tf.gather(users, rows)
    row_weight = tf.math.unsorted_segment_sum(pairs.weight, place, tf.size(rows))
    normaliser = tf.reduce_logsumexp(tf.matmul(vectors / temperature, items, transpose_b=True), axis=1)
    hits = tf.reduce_sum(tf.gather(vectors, place) * tf.gather(items, pairs.item - 1), axis=1) / temperature
    total = tf.reduce_sum(row_weight * normaliser) - tf.reduce_sum(pairs.weight * hits)
    return Loss(total, tf.reduce_sum(pairs.weight))
