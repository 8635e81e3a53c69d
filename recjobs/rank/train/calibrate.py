"""Platt calibration of each task on held-out users, and how well it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from recjobs.rank.block import FloatArray

BINS = 10
_CLIP = 1e-7


@dataclass(frozen=True)
class Platt:
    """p = sigmoid(slope × logit + intercept), per task."""

    slope: FloatArray
    intercept: FloatArray

    def apply(self, logits: FloatArray) -> FloatArray:
        """Calibrated probabilities, float32[B, T]."""
        result: FloatArray = (1.0 / (1.0 + np.exp(-(logits * self.slope + self.intercept)))).astype(np.float32)
        return result


def identity(tasks: int) -> Platt:
    """No calibration."""
    return Platt(np.ones(tasks, np.float32), np.zeros(tasks, np.float32))


def fit_platt(logits: FloatArray, labels: npt.NDArray[np.bool_], weight: FloatArray, min_positives: int) -> Platt:
    """Platt scaling (Platt 1999) per task; a task with fewer than `min_positives`, or whose slope would not be positive
    (that would turn the order round), stays as it is."""
    fitted = identity(labels.shape[1])
    for task in range(labels.shape[1]):
        known = labels[:, task]
        if min(known.sum(), (~known).sum()) < min_positives:
            continue
        # Weights of mean 1 keep the default regularisation negligible beside the data.
        model = LogisticRegression(C=1e6)
        model.fit(logits[:, [task]].astype(np.float64), known, sample_weight=weight / weight.mean())
        if model.coef_[0, 0] > 0:
            fitted.slope[task], fitted.intercept[task] = model.coef_[0, 0], model.intercept_[0]
    return fitted


def cross_fitted(
    logits: FloatArray,
    labels: npt.NDArray[np.bool_],
    weight: FloatArray,
    half: npt.NDArray[np.bool_],
    min_positives: int,
) -> FloatArray:
    """Probabilities where each half of the users is calibrated by the other, so that their error is honest."""
    result = np.empty(logits.shape, np.float32)
    for side in (half, ~half):
        platt = fit_platt(logits[~side], labels[~side], weight[~side], min_positives)
        result[side] = platt.apply(logits[side])
    return result


def task_metrics(
    probability: FloatArray, label: npt.NDArray[np.bool_], weight: FloatArray
) -> dict[str, float | int | None]:
    """AUC, log loss and calibration error of one task, weighted; AUC is None where labels are all equal."""
    positives = int(label.sum())
    both = 0 < positives < len(label)
    clipped = np.clip(probability.astype(np.float64), _CLIP, 1.0 - _CLIP)
    return {
        "pairs": len(label),
        "positives": positives,
        "auc": float(roc_auc_score(label, clipped, sample_weight=weight)) if both else None,
        "log_loss": float(log_loss(label, clipped, sample_weight=weight, labels=[False, True])) if len(label) else None,
        "calibration_error": calibration_error(clipped, label, weight),
    }


def reliability(
    probability: npt.NDArray[np.floating], label: npt.NDArray[np.bool_], weight: FloatArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean prediction, observed rate and weight in up to BINS groups of equal positives-to-be, lowest first.

    Groups hold equal shares of the predicted outcomes rather than of pairs: outcomes are rare, and groups of equal
    size would all but one be near 0.
    """
    if not len(label):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    order = np.argsort(probability, kind="stable")
    expected = np.cumsum(probability[order] * weight[order])
    group = np.minimum((expected / expected[-1] * BINS).astype(np.int64), BINS - 1)
    mass: npt.NDArray[np.float64] = np.bincount(group, weight[order], minlength=BINS).astype(np.float64)
    predicted = np.bincount(group, probability[order] * weight[order], minlength=BINS)
    observed = np.bincount(group, label[order] * weight[order], minlength=BINS)
    some = mass > 0
    return predicted[some] / mass[some], observed[some] / mass[some], mass[some]


def calibration_error(
    probability: npt.NDArray[np.floating], label: npt.NDArray[np.bool_], weight: FloatArray
) -> float | None:
    """Expected calibration error relative to the base rate: sum over groups of |predicted - observed| outcomes,
    divided by all observed outcomes. 0 is perfect; None where there is no outcome."""
    predicted, observed, mass = reliability(probability, label, weight)
    outcomes = float((observed * mass).sum())
    return float((np.abs(predicted - observed) * mass).sum() / outcomes) if outcomes else None
