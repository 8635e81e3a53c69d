"""Platt calibration of each task on held-out users, and how well it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from recjobs.rank.block import FloatArray

BINS = 10
OUTCOMES_PER_BIN = 20
PRIOR_POSITIVES = 20.0
_CLIP = 1e-7
_WIDEST = 30.0
_HALVINGS = 40


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
    """Platt scaling (Platt 1999) per task, drawn towards no change as if PRIOR_POSITIVES more outcomes had come out
    just as predicted.

    A task with fewer than `min_positives`, or whose slope would not be positive (that would turn the order round),
    stays as it is.
    """
    fitted = identity(labels.shape[1])
    for task in range(labels.shape[1]):
        known = labels[:, task]
        if min(known.sum(), (~known).sum()) < min_positives:
            continue
        slope, intercept = _fit_task(logits[:, task].astype(np.float64), known, weight / weight.mean())
        if slope > 0:
            fitted.slope[task], fitted.intercept[task] = slope, intercept
    return fitted


def _fit_task(
    logit: npt.NDArray[np.float64], label: npt.NDArray[np.bool_], weight: npt.NDArray[np.floating]
) -> tuple[float, float]:
    predicted = 1.0 / (1.0 + np.exp(-logit))
    prior = weight * (PRIOR_POSITIVES / (weight @ predicted))
    # Every pair counts three times: as it came out, and as the prior's share of 1 and of 0.
    targets = np.concatenate([label, np.ones_like(label), np.zeros_like(label)])
    weights = np.concatenate([weight, prior * predicted, prior * (1.0 - predicted)])
    model = LogisticRegression(C=1e6).fit(np.tile(logit, 3)[:, np.newaxis], targets, sample_weight=weights)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def recentred(platt: Platt, logits: FloatArray, labels: npt.NDArray[np.bool_], weight: FloatArray) -> Platt:
    """`platt` with each task's intercept moved so that the mean probability is the observed rate.

    The slope is a trait of how the model is trained and carries over from the trial; the level is the last label
    window's, given here: demand has seasons. A task without an outcome keeps its intercept.
    """
    intercept = platt.intercept.copy()
    for task in np.flatnonzero(labels.any(axis=0)):
        scaled = logits[:, task].astype(np.float64) * platt.slope[task]
        outcomes = weight @ labels[:, task].astype(np.float64)
        low, high = -_WIDEST, _WIDEST
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = weight @ (1.0 / (1.0 + np.exp(-(scaled + middle)))) < outcomes
            low, high = (middle, high) if below else (low, middle)
        intercept[task] = (low + high) / 2
    return Platt(platt.slope, intercept)


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
    """Mean prediction, observed rate and weight in up to BINS groups of equally many predicted outcomes, lowest
    first; fewer where a group would hold less than OUTCOMES_PER_BIN outcomes and show chance only.

    Not of equally many pairs: outcomes are rare, and all groups but one would be near 0.
    """
    if not len(label):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    order = np.argsort(probability, kind="stable")
    expected = np.cumsum(probability[order] * weight[order])
    bins = int(np.clip(label.sum() // OUTCOMES_PER_BIN, 1, BINS))
    group = np.minimum((expected / expected[-1] * bins).astype(np.int64), bins - 1)
    mass: npt.NDArray[np.float64] = np.bincount(group, weight[order], minlength=bins).astype(np.float64)
    predicted = np.bincount(group, probability[order] * weight[order], minlength=bins)
    observed = np.bincount(group, label[order] * weight[order], minlength=bins)
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
