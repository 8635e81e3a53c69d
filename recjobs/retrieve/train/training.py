"""From sequences to trained towers: one training, or one that finds the number of epochs and one with all targets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs.manifest import Inputs, Output
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import RetrieveTrainConfig, ValidationConfig
from recjobs.retrieve.train.curves import Curves
from recjobs.retrieve.train.devices import bare, with_precision
from recjobs.retrieve.train.fit import Trainer, Watch
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.resume import Resume
from recjobs.retrieve.train.sequences import TrainingData
from recjobs.retrieve.train.tensorboard import Board
from recjobs.retrieve.train.validation import Foreseen, Judge, foreseen

log = logging.getLogger(__name__)

SEARCH, REFIT = "search", "refit"
"""The phases: epochs are counted, or known."""


@dataclass(frozen=True)
class Task:
    """What to train on, and how. `build(held_out_days)` makes towers as training starts from them, that do not learn
    from those days; `optimizer(towers, steps)` their optimizer for so many steps."""

    build: Callable[[int], TwoTower]
    optimizer: Callable[[TwoTower, int], Any]
    data: TrainingData
    config: RetrieveTrainConfig
    seed: int
    event_weight: npt.NDArray[np.float32]
    last_day: int


@dataclass(frozen=True)
class Trained:
    """Trained towers, their optimizer (without a loss scale), the curves, and of how many phases they come."""

    model: TwoTower
    optimizer: Any
    curves: Curves
    phases: int
    validated_users: int


def train(task: Task, inputs: Inputs, out: Output, board: Board) -> Trained:
    """Trains, going on where a killed attempt of the same run has come to.

    With `validation.refit` the curves are those of the first training, which chose the number of epochs.

    Raises:
        ModelError: the loss is not finite, or there is nothing to validate on.
    """
    validation = task.config.validation
    if validation is None:
        model, optimizer = _untrained(task, 0)
        curves = _trainer(task, model, optimizer).fit(
            task.config.epochs, resume=_resume(task, inputs, out, SEARCH), after_epoch=board
        )
        return Trained(model, bare(optimizer), curves, 1, 0)
    judged = _foreseen(task, validation)
    model, optimizer = _untrained(task, validation.days)
    watch = Watch(Judge(model, judged, validation.k), validation.measure, validation.every, validation.patience)
    curves = _trainer(task, model, optimizer).fit(
        task.config.epochs,
        watch=watch,
        resume=_resume(task, inputs, out, SEARCH),
        keep_end=validation.refit,
        after_epoch=board,
    )
    if not validation.refit:
        return Trained(model, bare(optimizer), curves, 1, judged.users)
    log.info("epoch %d was best: training for so many epochs again, with the held-out days", curves.best_epoch)
    del model, optimizer
    model, optimizer = _untrained(task, 0)
    _trainer(task, model, optimizer).fit(curves.best_epoch, resume=_resume(task, inputs, out, REFIT))
    return Trained(model, bare(optimizer), curves, 2, judged.users)


def _untrained(task: Task, held_out_days: int) -> tuple[TwoTower, Any]:
    """Towers and optimizer as they are at the beginning: the same ones for a seed."""
    tf.keras.utils.set_random_seed(task.seed)
    with tf.distribute.get_strategy().scope():
        model = task.build(held_out_days)
        optimizer = task.optimizer(model, task.data.steps * task.config.epochs)
        return model, with_precision(optimizer, task.config.precision)


def _trainer(task: Task, model: TwoTower, optimizer: Any) -> Trainer:
    return Trainer(model, optimizer, task.data, task.seed)


def _resume(task: Task, inputs: Inputs, out: Output, phase: str) -> Resume:
    return Resume(inputs, out, phase, task.config.checkpoint_minutes)


def _foreseen(task: Task, validation: ValidationConfig) -> Foreseen:
    return foreseen(
        (windows.sequences for windows in task.data.blocks()),
        validation,
        last_day=task.last_day,
        length=task.config.sequence_length,
        event_weight=task.event_weight,
        seed=task.seed,
    )
