"""The training loop: a pass over the windows per epoch, progress logged, the loss watched."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Any

from recjobs.errors import ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.model import TwoTower

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 10.0
FINAL_SHARE = 0.01
"""The learning rate's end as a share of its peak."""


@dataclass(frozen=True)
class Epoch:
    """One pass: mean loss of a target, seconds, windows a second."""

    epoch: int
    loss: float
    seconds: float
    windows_per_second: float


@dataclass
class Curves:
    """The loss of every step and epoch."""

    steps: list[float] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)


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


def fit(
    model: TwoTower, optimizer: Any, batches: Any, *, epochs: int, steps_per_epoch: int, windows: int, seed: int
) -> Curves:
    """Trains `model` in place.

    Raises:
        ModelError: the loss is not finite.
    """
    curves = Curves()
    step_of = _step_function(model, optimizer, batches.element_spec)
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        loss = _one_epoch(step_of, batches, curves, f"epoch {epoch}/{epochs}", steps_per_epoch, seed)
        seconds = time.perf_counter() - started
        curves.epochs.append(Epoch(epoch, loss, seconds, windows / seconds))
        log.info("epoch %d/%d: loss %.4f, %.1f s, %.0f sequences/s", epoch, epochs, loss, seconds, windows / seconds)
    return curves


def _step_function(model: TwoTower, optimizer: Any, spec: Any) -> Any:
    def step(batch: dict[str, Any], seed: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            total, weight = model.loss_of(batch, seed)
            loss = total / tf.maximum(weight, 1e-6)
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
        pairs = [pair for pair in zip(gradients, variables, strict=True) if pair[0] is not None]
        optimizer.apply_gradients(pairs)
        return total, weight

    return tf.function(step, input_signature=[spec, tf.TensorSpec([2], tf.int32)])


def _one_epoch(step_of: Any, batches: Any, curves: Curves, name: str, steps: int, seed: int) -> float:
    """The epoch's mean loss of a target, by weight."""
    sums = [0.0, 0.0]
    shown = time.perf_counter()
    for done, batch in enumerate(batches, start=1):
        total, weight = (float(value) for value in step_of(batch, tf.constant([seed, len(curves.steps)], tf.int32)))
        sums = [sums[0] + total, sums[1] + weight]
        curves.steps.append(total / max(weight, 1e-6))
        _check_finite(total, name, len(curves.steps))
        if time.perf_counter() - shown > PROGRESS_SECONDS:
            shown = time.perf_counter()
            log.info("%s: step %d of %d, loss %.4f", name, done, steps, sums[0] / max(sums[1], 1e-6))
    return sums[0] / max(sums[1], 1e-6)


def _check_finite(loss: float, name: str, step: int) -> None:
    if not math.isfinite(loss):
        raise ModelError(
            f"{name}, step {step}: the loss is {loss}. Lower retrieve.train.learning_rate, or raise "
            "retrieve.train.temperature, and look for extreme values in declared numeric columns.",
            step=step,
        )
