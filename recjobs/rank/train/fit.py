"""Trains the DLRM on weighted examples held in memory. Seeded; the same examples give the same model."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras as keras

from recjobs.errors import ModelError
from recjobs.rank.block import Block
from recjobs.rank.dlrm import Dlrm, DlrmShape
from recjobs.rank.train.config import RankTrainConfig
from recjobs.rank.train.examples import Examples

log = logging.getLogger(__name__)
_REPORT_SECONDS = 5.0
_SMALLEST_BATCH = 64


def fit_ranker(
    examples: Examples,
    items: Block,
    learnt: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.bool_],
    config: RankTrainConfig,
    seed: int,
) -> Dlrm:
    """The DLRM trained on the pairs `learnt` bool[P] with `labels` bool[P, T]: weighted cross-entropy over all tasks,
    of each pair by itself and, by `config.listwise`, of its place among the user's pairs.

    Raises:
        ModelError: the loss is no longer finite.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    rows = np.flatnonzero(learnt)
    weight = examples.weight[rows]
    weight = weight / np.float32(weight.mean(dtype=np.float64) if len(rows) else 1.0)
    model = _new_model(examples, items, rows, labels, weight, config)
    if len(rows):
        trainer = _Trainer(model, examples, items, rows, labels[rows], weight, config)
        _train(trainer, len(rows), config, seed)
    return model


def _new_model(
    examples: Examples,
    items: Block,
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.bool_],
    weight: npt.NDArray[np.float32],
    config: RankTrainConfig,
) -> Dlrm:
    layouts = {"user": examples.users.layout, "item": items.layout, "pair": examples.pairs.layout}
    shape = DlrmShape(
        config.embedding_size, tuple(config.dense_layers), tuple(config.over_layers), tasks=labels.shape[1]
    )
    total = weight.sum()
    rate = (weight @ labels[rows] + 1e-3) / (total + 1.0)
    model = Dlrm(layouts, shape, np.log(rate / (1.0 - rate)))
    shapes = {
        name: (tf.zeros([1, len(part.dense)]), tf.zeros([1, len(part.sparse)], tf.int32))
        for name, part in layouts.items()
    }
    model(shapes)
    if len(rows):
        model.encoders["user"].normalise.adapt(*_moments(examples.users, examples.user[rows]))
        model.encoders["item"].normalise.adapt(*_moments(items, examples.item[rows]))
        model.encoders["pair"].normalise.adapt(*_moments(examples.pairs, rows))
    return model


def _moments(block: Block, rows: npt.NDArray[np.int64]) -> tuple[Any, Any]:
    """Mean and deviation of the dense features over pairs: each of the block's rows counts as often as pairs use it."""
    uses = np.bincount(rows, minlength=len(block)).astype(np.float64)
    wide = block.dense.astype(np.float64)
    mean = uses @ wide / uses.sum()
    return mean, np.sqrt(uses @ (wide - mean) ** 2 / uses.sum())


class _Trainer:
    """One optimiser step on a batch of pairs, everything gathered from constants inside the graph."""

    def __init__(
        self,
        model: Dlrm,
        examples: Examples,
        items: Block,
        rows: npt.NDArray[np.int64],
        labels: npt.NDArray[np.bool_],
        weight: npt.NDArray[np.float32],
        config: RankTrainConfig,
    ) -> None:
        self._model = model
        self._blocks = {"user": examples.users, "item": items, "pair": examples.pairs.take(rows)}
        self._rows = {"user": examples.user[rows], "item": examples.item[rows]}
        self._labels, self._weight = labels.astype(np.float32), weight
        self._listwise, self._size = config.listwise, batch_size(len(rows), config)
        steps = config.epochs * max(1, -(-len(rows) // self._size))
        rate = keras.optimizers.schedules.PolynomialDecay(config.learning_rate, steps, config.learning_rate / 20)
        self._optimizer = keras.optimizers.legacy.Adam(rate)
        self._step = tf.function(self._apply, reduce_retracing=True)

    def batches(self, random: np.random.Generator) -> list[npt.NDArray[np.int64]]:
        """All pairs once, in random order: of whole users where these are told apart."""
        user, size = self._rows["user"], self._size
        if self._listwise:
            return user_batches(user, size, random)
        return np.split(random.permutation(len(user)), range(size, len(user), size))

    def step(self, batch: npt.NDArray[np.int64]) -> tf.Tensor:
        """Learns from the pairs `batch`, positions among those learnt from. Returns the mean loss."""
        inputs = {}
        for name, block in self._blocks.items():
            part = block.take(self._rows[name][batch] if name in self._rows else batch)
            inputs[name] = (tf.constant(part.dense), tf.constant(part.sparse))
        _, user = np.unique(self._rows["user"][batch], return_inverse=True)
        told = (self._labels[batch], self._weight[batch], user.astype(np.int32))
        return self._step(inputs, *(tf.constant(part) for part in told))

    def _apply(self, inputs: dict[str, Any], labels: tf.Tensor, weight: tf.Tensor, user: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = self._model(inputs)
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(tf.reduce_sum(losses, axis=1) * weight)
            if self._listwise:
                listed = listwise_loss(logits, labels, user) / tf.cast(tf.shape(labels)[0], tf.float32)
                loss = (1.0 - self._listwise) * loss + self._listwise * listed
        variables = self._model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss


def batch_size(pairs: int, config: RankTrainConfig) -> int:
    """Pairs of a step: the configured size, or so many fewer that there are `min_steps`, but not below 64."""
    if not config.min_steps:
        return config.batch_size
    return min(config.batch_size, max(_SMALLEST_BATCH, pairs * config.epochs // config.min_steps))


def listwise_loss(logits: tf.Tensor, labels: tf.Tensor, user: tf.Tensor) -> tf.Tensor:
    """The sum over tasks and outcomes of -log of the outcome's share in a softmax over its user's pairs.

    logits and labels [B, T]; user int32[B] from 0, equal for pairs of one user.
    """
    users = tf.reduce_max(user) + 1
    # The softmax is the same whatever is taken off; less the largest, nothing overflows.
    largest = tf.stop_gradient(tf.math.unsorted_segment_max(logits, user, users))
    lowered = logits - tf.gather(largest, user)
    total = tf.math.unsorted_segment_sum(tf.exp(lowered), user, users)
    return tf.reduce_sum(labels * (tf.gather(tf.math.log(total), user) - lowered))


def user_batches(user: npt.NDArray[np.int64], size: int, random: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """All positions of `user` (equal ones next to each other) in batches of whole users, in random order.

    The users of a batch begin within `size` positions of each other.
    """
    starts = np.flatnonzero(np.r_[True, user[1:] != user[:-1]][: len(user)])
    lengths = np.diff(np.r_[starts, len(user)])
    order = random.permutation(len(starts))
    chosen = lengths[order]
    ends = np.cumsum(chosen)
    rows = np.arange(len(user)) - np.repeat(ends - chosen, chosen) + np.repeat(starts[order], chosen)
    batch = (ends - chosen) // size
    cuts = ends[:-1][batch[1:] != batch[:-1]]
    return np.split(rows, cuts)


def _train(trainer: _Trainer, rows: int, config: RankTrainConfig, seed: int) -> None:
    random = np.random.default_rng(seed)
    started = reported = perf_counter()
    for epoch in range(1, config.epochs + 1):
        losses, done = [], (epoch - 1) * rows
        for batch in trainer.batches(random):
            losses.append(trainer.step(batch))
            done += len(batch)
            if perf_counter() - reported > _REPORT_SECONDS:
                reported = perf_counter()
                log.info("rank/train: epoch %d, %d pairs, %.0f pairs/s", epoch, done, done / (reported - started))
        loss = float(tf.reduce_mean(tf.stack(losses)))
        if not np.isfinite(loss):
            raise ModelError(
                f"rank/train: the loss of epoch {epoch} is {loss}. Lower rank.train.learning_rate "
                f"(now {config.learning_rate})."
            )
        seconds = perf_counter() - started
        log.info(
            "rank/train: epoch %d of %d, loss %.5f, %.0f pairs/s", epoch, config.epochs, loss, epoch * rows / seconds
        )
