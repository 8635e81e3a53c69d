from __future__ import annotations

import numpy as np
import pytest

from recjobs.rank.train.calibrate import (
    Platt,
    calibration_error,
    cross_fitted,
    fit_platt,
    recentred,
    reliability,
    task_metrics,
)

SIZE = 40_000


def planted_logits(slope: float, intercept: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits whose outcomes follow sigmoid(slope × logit + intercept)."""
    random = np.random.default_rng(0)
    logits = random.normal(-2.0, 1.0, (SIZE, 1)).astype(np.float32)
    rate = 1 / (1 + np.exp(-(slope * logits + intercept)))
    return logits, random.random((SIZE, 1)) < rate, np.ones(SIZE, np.float32)


def test_platt_finds_the_planted_distortion() -> None:
    platt = fit_platt(*planted_logits(0.5, -1.0), min_positives=20)
    assert platt.slope[0] == pytest.approx(0.5, abs=0.05)
    assert platt.intercept[0] == pytest.approx(-1.0, abs=0.1)


def test_weights_count_as_repeated_pairs() -> None:
    logits, labels, weight = planted_logits(1.0, 0.0)
    weight[labels[:, 0]] = 3.0
    repeated = np.repeat(np.arange(SIZE), weight.astype(int))
    weighted = fit_platt(logits, labels, weight, 20)
    plain = fit_platt(logits[repeated], labels[repeated], np.ones(len(repeated), np.float32), 20)
    np.testing.assert_allclose(weighted.intercept, plain.intercept, atol=1e-3)


def test_too_few_outcomes_or_a_reversed_order_leave_logits_alone() -> None:
    logits, labels, weight = planted_logits(-1.0, -3.0)
    reversed_order = fit_platt(logits, labels, weight, 20)
    too_few = fit_platt(logits[:50], labels[:50] & False, weight[:50], 20)
    for platt in (reversed_order, too_few):
        assert (platt.slope[0], platt.intercept[0]) == (1.0, 0.0)


def test_calibration_lowers_the_error_on_the_other_half() -> None:
    logits, labels, weight = planted_logits(0.5, -1.0)
    raw = 1 / (1 + np.exp(-logits[:, 0]))
    calibrated = cross_fitted(logits, labels, weight, np.arange(SIZE) % 2 == 0, 20)[:, 0]
    before, after = (calibration_error(p, labels[:, 0], weight) for p in (raw, calibrated))
    assert before is not None
    assert after is not None
    assert after < 0.08 < before


def test_recentring_gives_the_observed_rate_and_leaves_the_slope() -> None:
    logits, labels, weight = planted_logits(0.5, -1.0)
    both = np.hstack([labels, labels & False])
    platt = recentred(Platt(np.float32([0.7, 1.3]), np.float32([3.0, 0.4])), np.hstack([logits, logits]), both, weight)
    np.testing.assert_allclose(platt.apply(np.hstack([logits, logits]))[:, 0].mean(), labels.mean(), rtol=1e-4)
    assert platt.slope.tolist() == [np.float32(0.7), np.float32(1.3)]
    assert platt.intercept[1] == np.float32(0.4)


def test_reliability_groups_hold_equal_predicted_outcomes() -> None:
    logits, labels, weight = planted_logits(1.0, 0.0)
    predicted, observed, mass = reliability(1 / (1 + np.exp(-logits[:, 0])), labels[:, 0], weight)
    np.testing.assert_allclose(predicted * mass, (predicted * mass).mean(), rtol=0.05)
    np.testing.assert_allclose(observed, predicted, rtol=0.15)
    assert mass.sum() == SIZE


def test_metrics_of_one_class_say_none() -> None:
    metrics = task_metrics(np.full(5, 0.1, np.float32), np.zeros(5, np.bool_), np.ones(5, np.float32))
    assert metrics["auc"] is None
    assert metrics["calibration_error"] is None
    assert metrics["log_loss"] == pytest.approx(-np.log(0.9), rel=1e-5)


def test_metrics_of_nothing_say_none() -> None:
    metrics = task_metrics(np.zeros(0, np.float32), np.zeros(0, np.bool_), np.zeros(0, np.float32))
    assert (metrics["auc"], metrics["log_loss"], metrics["pairs"]) == (None, None, 0)
