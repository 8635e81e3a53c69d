"""The trial: a model that does not see everything, to choose the blend and the calibration honestly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs.rank.blend import utility_of
from recjobs.rank.block import Block, FloatArray
from recjobs.rank.dlrm import Dlrm
from recjobs.rank.train.calibrate import Platt, cross_fitted, fit_platt, task_metrics
from recjobs.rank.train.config import RankTrainConfig
from recjobs.rank.train.examples import Examples
from recjobs.rank.train.judge import Verdict, choose_blend
from recjobs.rank.train.predict import logits_of
from recjobs.rank.train.split import Split


@dataclass(frozen=True)
class Calibrated:
    """The trial's predictions for held-out users, each half of them calibrated by the other."""

    platt: Platt
    probability: FloatArray
    labels: npt.NDArray[np.bool_]
    weight: FloatArray

    def metrics(self, tasks: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """AUC, log loss and calibration error by task, over held-out users' pairs."""
        return {
            task: task_metrics(self.probability[:, column], self.labels[:, column], self.weight)
            for column, task in enumerate(tasks)
        }


def calibrate_trial(model: Dlrm, examples: Examples, items: Block, split: Split, config: RankTrainConfig) -> Calibrated:
    """Fits Platt's parameters on the held-out users' pairs."""
    rows = np.flatnonzero(split.calibrates)
    logits = logits_of(model, examples, items, rows)
    labels, weight = split.labels[rows], examples.weight[rows]
    half = (examples.fold[examples.user[rows]] % 2).astype(np.bool_)
    return Calibrated(
        platt=fit_platt(logits, labels, weight, config.min_positives),
        probability=cross_fitted(logits, labels, weight, half, config.min_positives),
        labels=labels,
        weight=weight,
    )


def judge_trial(
    model: Dlrm, platt: Platt, examples: Examples, items: Block, split: Split, utility: tuple[float, ...]
) -> Verdict:
    """Chooses the blend weight on the judged users, all of whose candidates are among the examples."""
    asked = np.zeros(len(examples.users), np.bool_)
    asked[examples.user[split.judges]] = True
    rows = np.flatnonzero(asked[examples.user])
    probability = platt.apply(logits_of(model, examples, items, rows))
    _, lengths = np.unique(examples.user[rows], return_counts=True)
    return choose_blend(
        examples.standard_score[rows],
        utility_of(probability, utility),
        split.judged_labels[rows].astype(np.float64) @ np.asarray(utility, np.float64),
        split.judges[rows],
        lengths.astype(np.int64),
    )
