"""Softmax over the batch's own targets and sampled negatives (mixed negative sampling; Yang et al. 2020).

With T targets in a batch and M sampled negatives, item i is expected E(i) = (T - 1) p(i) + M q(i) times among the
negatives of a target: p is how often it is a target, q how it is sampled. A negative's logit is lowered by log E(i)
(logQ; Yi et al. 2019, eq. 4), so that the sum of the negatives' exponentials is on average that over the catalogue.
The target itself is there for certain, and its logit is not lowered. Negatives that are the target are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs.retrieve.framework import tf, tfrs

_LEAST = 1e-6
"""TFRS takes any probability below for this."""


class NegativeSampling:
    """How negatives are drawn and corrected for.

    `counts` int64[I + 1] are the training events of items 0…I; items 1…`warm` have some. Items are sampled in
    proportion to counts to the power of `power`: 0 draws all alike, 1 as often as they are targets. Without `logq`
    nothing is corrected, and popular items are pushed down for being popular.
    """

    def __init__(
        self, counts: npt.NDArray[np.int64], *, sampled: int, power: float, logq: bool, temperature: float
    ) -> None:
        self.sampled = sampled
        self.logq = logq
        self.temperature = temperature
        known = counts > 0
        powers = np.where(known, np.power(np.maximum(counts, 1).astype(np.float64), power), 0.0)
        self.target_share = tf.constant((counts / max(1, counts.sum())).astype(np.float32))
        self.sampling_share = tf.constant((powers / max(1.0, powers.sum())).astype(np.float32))
        self._cumulative = tf.constant(np.cumsum(powers / max(1.0, powers.sum())))
        self._last = int(np.flatnonzero(known)[-1]) if known.any() else 0

    def draw(self, seed: Any) -> Any:
        """int32[M] items, with repetition; `seed` int32[2]."""
        if not self.sampled:
            return tf.zeros([0], tf.int32)
        places = tf.random.stateless_uniform([self.sampled], tf.random.fold_in(seed, 0), dtype=tf.float64)
        found = tf.searchsorted(self._cumulative, places, side="right")
        return tf.minimum(tf.cast(found, tf.int32), self._last)

    def expected(self, items: Any, targets: Any) -> Any:
        """float32[…]: how often each item is expected among the negatives of one of `targets` (a number) targets."""
        others = tf.maximum(tf.cast(targets, tf.float32) - 1.0, 0.0)
        return others * tf.gather(self.target_share, items) + self.sampled * tf.gather(self.sampling_share, items)

    def loss(self, users: Any, candidates: Any, items: Any, weight: Any) -> Any:
        """Σ weight × cross-entropy. `users` float32[T, D]; `candidates` float32[T + M, D], of `items` int32[T + M].

        The first T candidates are the users' targets, in order; `weight` float32[T].
        """
        share = self._share(items, tf.shape(users)[0])
        task = tfrs.tasks.Retrieval(
            loss=_CertainTarget(None if share is None else share[: tf.shape(users)[0]]),
            temperature=self.temperature,
            remove_accidental_hits=True,
        )
        # TFRS asks for the length of a symbolic shape, which AutoGraph alone can answer; a step is traced without it.
        return tf.function(task, autograph=True)(
            users,
            candidates,
            sample_weight=weight,
            candidate_sampling_probability=None if share is None else share / tf.reduce_max(share),
            candidate_ids=items,
            compute_metrics=False,
        )

    def _share(self, items: Any, targets: Any) -> Any:
        """E of each candidate, at least the millionth part of the largest, as TFRS would have it anyway."""
        if not self.logq:
            return None
        share = self.expected(items, targets)
        # A single target without negatives has nothing to correct, and nothing to divide by.
        largest = tf.reduce_max(share, keepdims=True)
        return tf.where(largest > 0, tf.maximum(share, _LEAST * largest), 1.0)


class _CertainTarget:
    """Σ weight × cross-entropy where only negatives count as drawn.

    TFRS lowers each candidate's logit by log(E / largest E). Here that is undone for a row's target, and the
    largest E goes back to the others, by adding it to the target alone: a constant of the row is none to a softmax.
    """

    def __init__(self, share: Any | None) -> None:
        self._share = share

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        logits = y_pred
        if self._share is not None:
            logits += y_true * tf.math.log(self._share)[:, None]
        entropy = tf.nn.softmax_cross_entropy_with_logits(y_true, logits)
        return tf.reduce_sum(sample_weight * entropy)
