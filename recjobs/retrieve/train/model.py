"""The two towers together, and the loss that draws users to what they did next.

The softmax is over all items with an event where the catalogue is small. Above that, the negatives
are the other targets of the batch and sampled items, corrected for how often each is drawn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from recjobs.retrieve.framework import tf
from recjobs.retrieve.item_features import ItemFeatures
from recjobs.retrieve.train.chance import drawing
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.context import hour
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.negatives import NegativeSampling
from recjobs.retrieve.train.sequences import FIRST_TARGET
from recjobs.retrieve.train.softmax import weighted_log_normaliser
from recjobs.retrieve.train.targets import SECONDS_A_DAY, TargetRule, Targets, shuffle_ties
from recjobs.retrieve.train.user_tower import UserTower
from recjobs.retrieve.user_features import DEVICE, EVENT_FIELDS, EVENT_TYPE, HOUR, ITEM, TIME


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
        self.full_softmax = config.is_full_softmax(features.warm)
        self.negatives = NegativeSampling(
            features.counts,
            sampled=config.sampled_negatives,
            power=config.negative_power,
            logq=config.logq,
            temperature=config.temperature,
        )

    def loss_of(self, batch: dict[str, Any], seed: Any) -> Loss:
        """The batch's loss; from `seed` int32[2] follow the order within baskets, the negatives and what is dropped."""
        events = shuffle_ties({field: batch[field] for field in (*EVENT_FIELDS, DEVICE) if field in batch}, seed)
        negatives = None if self.full_softmax else self.negatives.draw(seed)
        with drawing(seed):
            catalogue = self._catalogue(events[ITEM], negatives)
            users = self._user_vectors(events, catalogue, batch)
        pairs = _pairs(self.rule.targets(events, batch[FIRST_TARGET]), events[ITEM])
        rows = tf.reshape(users, [-1, self.config.embedding_size])
        if negatives is None:
            return _full_softmax(rows, pairs, self.items.vector(catalogue.representation[1:]), self.config.temperature)
        return self._sampled_softmax(rows, pairs, catalogue, negatives)

    def _catalogue(self, items: Any, negatives: Any | None) -> _Catalogue:
        """The items of this step: all with an event, or those of the batch and the negatives."""
        if negatives is None:
            indexes = tf.range(self.items.warm + 1)
        else:
            seen = tf.cast(tf.reshape(items, [-1]), tf.int32)
            indexes = tf.sort(tf.unique(tf.concat([seen, negatives], axis=0)).y)
        representation, history = self.items.both(indexes, self.config.unknown_id_dropout)
        return _Catalogue(indexes, representation, history, negatives is None)

    def _user_vectors(self, events: dict[str, Any], catalogue: _Catalogue, batch: dict[str, Any]) -> Any:
        """float32[B, E, D]: the user before each event, as of that event's day."""
        day = events[TIME] // SECONDS_A_DAY
        return self.users(
            catalogue.history_of(tf.cast(events[ITEM][:, :-1], tf.int32)),
            events[EVENT_TYPE][:, :-1],
            day[:, :-1],
            day,
            {name: batch[name] for name in self.users.side_inputs()} | _visit(events),
            training=True,
        )

    def _sampled_softmax(self, users: Any, pairs: Pairs, catalogue: _Catalogue, negatives: Any) -> Loss:
        candidates = tf.concat([pairs.item, negatives], axis=0)
        total = self.negatives.loss(
            tf.gather(users, pairs.row),
            self.items.vector(catalogue.rows_of(candidates)),
            candidates,
            pairs.weight,
        )
        return Loss(total, tf.reduce_sum(pairs.weight))


def _visit(events: dict[str, Any]) -> dict[str, Any]:
    """What is known of the visit of each event, int64[B, E] each."""
    return {HOUR: hour(events[TIME])} | ({DEVICE: events[DEVICE]} if DEVICE in events else {})


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
    normaliser = weighted_log_normaliser(vectors / temperature, row_weight, items)
    hits = tf.reduce_sum(tf.gather(vectors, place) * tf.gather(items, pairs.item - 1), axis=1) / temperature
    return Loss(normaliser - tf.reduce_sum(pairs.weight * hits), tf.reduce_sum(pairs.weight))
