"""The training loop: a pass over the windows per epoch, progress logged, the loss watched, validated, saved."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recjobs.errors import ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.curves import Curves, Epoch
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.resume import Progress, Resume
from recjobs.retrieve.train.sequences import Batch, TrainingData, ahead
from recjobs.retrieve.train.weights import put_back, state_of, taken

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 10.0
FINAL_SHARE = 0.01
"""The learning rate's end as a share of its peak."""


@dataclass(frozen=True)
class Watch:
    """Early stopping: `judge` gives the measures after every `every` epochs, of which `measure` decides."""

    judge: Callable[[], dict[str, float]]
    measure: str
    every: int
    patience: int


class WarmUpCosine(tf.keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A learning rate that rises linearly to `peak` in `warm_up` steps, then falls on a cosine until `steps`.

    The steps are those after the first `done`, which earlier nights took.
    """

    def __init__(self, peak: float, warm_up: int, steps: int, done: int = 0) -> None:
        super().__init__()
        self.done = done
        self.peak = peak
        self.warm_up = warm_up
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        done = tf.cast(step - self.done, tf.float32)
        rising = (done + 1.0) / max(1, self.warm_up)
        share = tf.clip_by_value((done - self.warm_up) / max(1, self.steps - self.warm_up), 0.0, 1.0)
        falling = FINAL_SHARE + (1.0 - FINAL_SHARE) * 0.5 * (1.0 + tf.cos(math.pi * share))
        return self.peak * tf.where(done < self.warm_up, rising, falling)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this schedule again."""
        return {"peak": self.peak, "warm_up": self.warm_up, "steps": self.steps, "done": self.done}


def optimizer_of(config: RetrieveTrainConfig, steps: int, done: int = 0) -> Any:
    """The configured optimizer with its schedule over `steps` steps, which follow on `done` of earlier nights."""
    schedule = WarmUpCosine(config.learning_rate, int(config.warm_up_share * steps), steps, done)
    if config.optimizer == "adagrad":
        return tf.keras.optimizers.Adagrad(schedule, initial_accumulator_value=0.1)
    return tf.keras.optimizers.Adam(schedule, epsilon=1e-8)


class Trainer:
    """Trains a model in place, for a number of epochs or until a watch says that it gets no better.

    Where TensorFlow has several devices each takes a part of every batch, and the gradients are summed: the loss is
    that of the whole batch, except that sampled softmax has negatives for each part.
    """

    def __init__(self, model: TwoTower, optimizer: Any, data: TrainingData, seed: int) -> None:
        self.model = model
        self.optimizer = optimizer
        self.data = data
        self.seed = seed
        self.strategy = tf.distribute.get_strategy()
        self._step = self._traced(self._build())

    def fit(
        self,
        epochs: int,
        *,
        watch: Watch | None = None,
        resume: Resume | None = None,
        keep_end: bool = False,
        after_epoch: Callable[[Curves], None] = lambda _: None,
    ) -> Curves:
        """Trains and returns the curves. With a watch the weights are those of the best epoch, else of the last one.

        With `keep_end` the end is saved whatever the time: another phase follows.

        Raises:
            ModelError: the loss is not finite.
        """
        progress = resume.found() if resume else Progress()
        variables = state_of(self.model, self.optimizer)
        if progress.last is not None:
            put_back(variables, progress.last)
            progress.last = None
        after_epoch(progress.curves)
        while not _is_over(progress.curves, epochs, watch):
            self._next_epoch(progress, epochs, variables, watch)
            after_epoch(progress.curves)
            over = _is_over(progress.curves, epochs, watch)
            if resume and (keep_end if over else resume.is_due()):
                resume.save(replace(progress, last=taken(variables)))
        if progress.best is not None:
            put_back(variables, progress.best)
        return progress.curves

    def _next_epoch(self, progress: Progress, epochs: int, variables: list[Any], watch: Watch | None) -> None:
        curves = progress.curves
        number = len(curves.epochs) + 1
        epoch = self._one_epoch(curves, number, epochs)
        if watch is not None and (number % watch.every == 0 or number == epochs):
            epoch = replace(epoch, validation=watch.judge())
        curves.epochs.append(epoch)
        _log_epoch(epoch, epochs)
        before, curves.best_epoch = curves.best_epoch, _best(curves, watch)
        if watch is not None and curves.best_epoch != before:
            progress.best = taken(variables)

    def _one_epoch(self, curves: Curves, number: int, epochs: int) -> Epoch:
        name = f"epoch {number}/{epochs}"
        started = shown = time.perf_counter()
        waited, done, sums = 0.0, 0, np.zeros(2)
        for seconds, batch in _timed(ahead(self.data.batches(number))):
            waited, done = waited + seconds, done + 1
            total, weight = self._run(batch, len(curves.steps))
            sums += (total, weight)
            curves.steps.append(total / max(weight, 1e-6))
            _check_finite(total, name, len(curves.steps))
            if time.perf_counter() - shown > PROGRESS_SECONDS:
                shown = time.perf_counter()
                log.info("%s: step %d of %d, loss %.4f", name, done, self.data.steps, sums[0] / max(sums[1], 1e-6))
        took = time.perf_counter() - started
        return Epoch(number, float(sums[0] / max(sums[1], 1e-6)), took, waited, self.data.windows / took)

    # -- a step

    def _build(self) -> dict[str, Any]:
        """Makes all variables, so that they can be given values before the first step. Returns the windows used."""
        batch = next(self.data.batches(1))
        one = {name: tf.constant(values[:1]) for name, values in batch.items()}
        with self.strategy.scope():
            self.model.loss_of(one, tf.constant([self.seed % (1 << 31), 0], tf.int32))
            self.optimizer.build(self.model.trainable_variables)
        return one

    def _traced(self, example: dict[str, Any]) -> Any:
        """The step as a graph: one for batches of all sizes, where one device takes them whole."""
        if self.strategy.num_replicas_in_sync > 1:
            return tf.function(self._distributed_step, reduce_retracing=True, autograph=False)
        spec = {name: tf.TensorSpec([None] * values.shape.rank, values.dtype) for name, values in example.items()}
        signature = [spec, tf.TensorSpec([2], tf.int32)]
        # No Python branch in the step hangs on a tensor; translating it all to find out takes longer than tracing it.
        return tf.function(self._distributed_step, input_signature=signature, autograph=False)

    def _run(self, batch: Batch, step: int) -> tuple[float, float]:
        seed = tf.constant([self.seed % (1 << 31), step], tf.int32)
        total, weight = self._step(self._parts(batch), seed)
        return float(total), float(weight)

    def _parts(self, batch: Batch) -> Any:
        """The batch as tensors; with several devices a part for each."""
        count = self.strategy.num_replicas_in_sync
        if count == 1:
            return {name: tf.constant(values) for name, values in batch.items()}
        return {
            name: self.strategy.experimental_distribute_values_from_function(
                lambda context, values=values: tf.constant(values[context.replica_id_in_sync_group :: count])
            )
            for name, values in batch.items()
        }

    def _distributed_step(self, batch: Any, seed: Any) -> tuple[Any, Any]:
        if self.strategy.num_replicas_in_sync == 1:
            return self._one_step(batch, seed)
        sums = self.strategy.run(self._one_step, (batch, seed))
        return tuple(self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for value in sums)  # type: ignore[return-value]

    def _one_step(self, batch: dict[str, Any], seed: Any) -> tuple[Any, Any]:
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            seed = tf.random.fold_in(seed, context.replica_id_in_sync_group)
        with tf.GradientTape() as tape:
            total, weight = self.model.loss_of(batch, seed)
            whole = weight if context.num_replicas_in_sync == 1 else context.all_reduce("SUM", weight)
            loss = self._scaled(total / tf.maximum(tf.stop_gradient(whole), 1e-6))
        self._apply(tape.gradient(loss, self.model.trainable_variables))
        return total, weight

    def _scaled(self, loss: Any) -> Any:
        return self.optimizer.get_scaled_loss(loss) if self._has_loss_scale else loss

    def _apply(self, gradients: list[Any]) -> None:
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, self.model.trainable_variables, strict=True)
            if gradient is not None
        ]
        if self._has_loss_scale:
            unscaled = self.optimizer.get_unscaled_gradients([gradient for gradient, _ in pairs])
            pairs = list(zip(unscaled, (variable for _, variable in pairs), strict=True))
        self.optimizer.apply_gradients(pairs)

    @property
    def _has_loss_scale(self) -> bool:
        return hasattr(self.optimizer, "get_scaled_loss")


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[float, Batch]]:
    """Each batch with the seconds that were waited for it."""
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield time.perf_counter() - asked, batch


def _best(curves: Curves, watch: Watch | None) -> int:
    """The first epoch with the best value, or the last epoch where nothing is watched."""
    if watch is None:
        return len(curves.epochs)
    judged = [epoch for epoch in curves.epochs if epoch.validation is not None]
    if not judged:
        return 0
    return max(judged, key=lambda epoch: ((epoch.validation or {})[watch.measure], -epoch.epoch)).epoch


def _is_over(curves: Curves, epochs: int, watch: Watch | None) -> bool:
    if len(curves.epochs) >= epochs:
        return True
    if watch is None or not curves.best_epoch:
        return False
    since = [epoch for epoch in curves.epochs[curves.best_epoch :] if epoch.validation is not None]
    return len(since) >= watch.patience


def _log_epoch(epoch: Epoch, epochs: int) -> None:
    said = "".join(f", {name} {value:.4f}" for name, value in (epoch.validation or {}).items())
    log.info(
        "epoch %d/%d: loss %.4f%s, %.1f s (%.1f of them waiting for input), %.0f windows/s",
        epoch.epoch,
        epochs,
        epoch.loss,
        said,
        epoch.seconds,
        epoch.input_seconds,
        epoch.windows_per_second,
    )


def _check_finite(loss: float, name: str, step: int) -> None:
    if not math.isfinite(loss):
        raise ModelError(
            f"{name}, step {step}: the loss is {loss}. Lower retrieve.train.learning_rate, or raise "
            "retrieve.train.temperature, and look for extreme values in declared numeric columns.",
            step=step,
        )
