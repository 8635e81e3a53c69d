"""The two towers together, and the loss that draws users to what they did next.

The softmax is over all items with an event where the catalogue is small. Above that, the negatives
are the other targets of the batch, corrected for how often each is drawn (logQ; Yi et al. 2019, eq. 4),
without those that happen to be the target itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recjobs import columns
from recjobs.retrieve.framework import tf, tfrs
from recjobs.retrieve.item_features import ItemFeatures
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.sequences import FIRST
from recjobs.retrieve.train.targets import SECONDS_A_DAY, Decay, Targets, choose_targets, shuffle_ties
from recjobs.retrieve.train.user_tower import UserTower
from recjobs.retrieve.user_features import EVENT_FIELDS, EVENT_TYPE, ITEM, SIDE_FIELDS, TIME


class Loss(NamedTuple):
    """The weighted sum of the cross-entropies of a batch, and the sum of the weights."""

    total: Any
    weight: Any


class TwoTower(tf.Module):  # type: ignore[misc]
    """Both towers; `loss_of` is their objective on one batch of windows."""

    def __init__(
        self,
        items: ItemTower,
        users: UserTower,
        features: ItemFeatures,
        event_weight: npt.NDArray[np.float32],
        config: RetrieveTrainConfig,
        decay: Decay | None,
    ) -> None:
        super().__init__(name="two_tower")
        self.items = items
        self.users = users
        self.config = config
        self.decay = decay
        self.full_softmax = features.warm < config.full_softmax_below
        self.event_weight = tf.constant(event_weight)
        self.frequency = tf.constant((features.counts / max(1, features.counts.sum())).astype(np.float32))
        self.task = tfrs.tasks.Retrieval(temperature=config.temperature, remove_accidental_hits=True)

    def loss_of(self, batch: dict[str, Any], seed: Any) -> Loss:
        """The batch's loss; `seed` int32[2] draws the order within baskets and the targets."""
        seeds = tf.random.experimental.stateless_split(seed, 2)
        events = shuffle_ties({field: batch[field] for field in EVENT_FIELDS}, seeds[0])
        targets = choose_targets(
            events,
            self.event_weight,
            first=batch[FIRST],
            seed=seeds[1],
            next_day=self.config.targets == "next_day",
            decay=self.decay,
        )
        catalogue = self._catalogue(events[ITEM], targets)
        users = self._user_vectors(events, targets, catalogue, batch)
        real = tf.where(targets.weight > 0)
        return self._softmax(
            tf.gather_nd(users, real),
            tf.cast(tf.gather_nd(targets.item, real), tf.int32),
            tf.gather_nd(targets.weight, real),
            catalogue,
        )

    def _catalogue(self, items: Any, targets: Targets) -> _Catalogue:
        """The items of this step: all with an event, or those of the batch."""
        if self.full_softmax:
            indexes = tf.range(self.items.warm + 1)
            return _Catalogue(indexes, self.items.representation(indexes, self.config.unknown_id_dropout), True)
        together = tf.concat([tf.reshape(items, [-1]), tf.reshape(targets.item, [-1])], axis=0)
        indexes = tf.sort(tf.unique(tf.cast(together, tf.int32)).y)
        return _Catalogue(indexes, self.items.representation(indexes, self.config.unknown_id_dropout), False)

    def _user_vectors(
        self, events: dict[str, Any], targets: Targets, catalogue: _Catalogue, batch: dict[str, Any]
    ) -> Any:
        return self.users(
            catalogue.rows_of(tf.cast(events[ITEM][:, :-1], tf.int32)),
            events[EVENT_TYPE][:, :-1],
            events[TIME][:, :-1] // SECONDS_A_DAY,
            targets.day,
            {name: batch[name] for name in (*SIDE_FIELDS, columns.USER_INDEX)},
            training=True,
        )

    def _softmax(self, users: Any, target: Any, weight: Any, catalogue: _Catalogue) -> Loss:
        if self.full_softmax:
            vectors = self.items.vector(catalogue.representation[1:])
            logits = tf.matmul(users, vectors, transpose_b=True) / self.config.temperature
            entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(target - 1, logits)
            return Loss(tf.reduce_sum(entropies * weight), tf.reduce_sum(weight))
        total = self.task(
            users,
            self.items.vector(catalogue.rows_of(target)),
            sample_weight=weight,
            candidate_sampling_probability=tf.gather(self.frequency, target),
            candidate_ids=target,
            compute_metrics=False,
        )
        return Loss(total, tf.reduce_sum(weight))


class _Catalogue(NamedTuple):
    """Sorted item indexes and their representations; `complete` when the indexes are 0…n."""

    indexes: Any
    representation: Any
    complete: bool

    def rows_of(self, items: Any) -> Any:
        """The representations of int32[…] items, all among `indexes`."""
        if self.complete:
            return tf.gather(self.representation, items)
        flat = tf.searchsorted(self.indexes, tf.reshape(items, [-1]))
        return tf.gather(self.representation, tf.reshape(flat, tf.shape(items)))
