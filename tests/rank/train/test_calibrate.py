from __future__ import annotations

import numpy as np
import pytest

from recjobs.rank.train.calibrate import (
    Platt,
    calibration_error,
    cross_fitted,
    fit_platt,
    identity,
    recentred,
    reliability,
    task_metrics,
)
from recjobs.rank.train.plots import calibration_plot
from recjobs.rank.train.trial import Calibrated

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


def test_the_calibration_error_is_the_share_of_outcomes_that_are_promised_wrongly() -> None:
    """Of 1000 pairs each: 10 % promised and 15 % came, 30 % promised and 30 % came. 50 of 450 outcomes are amiss."""
    probability = np.repeat([0.1, 0.3], 1000)
    place = np.arange(1000)
    label = np.concatenate([place * 15 % 100 < 15, place * 30 % 100 < 30])
    assert label.sum() == 450
    error = calibration_error(probability, label, np.ones(2000, np.float32))
    assert error == pytest.approx(50 / 450, rel=0.05)


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 0.0), (1.5, 0.5), (0.5, 0.5)])
def test_the_calibration_error_of_known_chances(factor: float, expected: float) -> None:
    """Outcomes fall by known chances, predicted `factor` times too high; pairs are sampled and weighted back."""
    random = np.random.default_rng(1)
    chance = random.beta(2, 18, 200_000)
    label = random.random(len(chance)) < chance
    taken = label | (random.random(len(chance)) < 0.25)
    weight = np.where(label, 1.0, 4.0).astype(np.float32)[taken]
    metrics = task_metrics((chance[taken] * factor).astype(np.float32), label[taken], weight)
    assert metrics["calibration_error"] == pytest.approx(expected, abs=0.04)


def test_the_picture_has_a_panel_for_each_head_with_its_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    plot = Axes.plot

    def spy(self: Axes, *arguments: np.ndarray, **styles: object) -> object:
        drawn.append(arguments)  # type: ignore[arg-type]
        return plot(self, *arguments, **styles)

    monkeypatch.setattr(Axes, "plot", spy)
    random = np.random.default_rng(2)
    chance = random.beta(2, 18, (20_000, 2)).astype(np.float32)
    labels, weight = random.random(chance.shape) < chance, np.ones(len(chance), np.float32)
    picture = calibration_plot(Calibrated(identity(2), chance, labels, weight), ("click", "purchase"))
    assert picture.startswith(b"\x89PNG")
    curves = drawn[1::2]
    for task, (predicted, observed) in enumerate(curves):
        expected = reliability(chance[:, task], labels[:, task], weight)[:2]
        np.testing.assert_array_equal([predicted, observed], expected)
        np.testing.assert_allclose(predicted, observed, rtol=0.25)
    assert len(curves) == 2


def test_metrics_of_one_class_say_none() -> None:
    metrics = task_metrics(np.full(5, 0.1, np.float32), np.zeros(5, np.bool_), np.ones(5, np.float32))
    assert metrics["auc"] is None
    assert metrics["calibration_error"] is None
    assert metrics["log_loss"] == pytest.approx(-np.log(0.9), rel=1e-5)


def test_metrics_of_nothing_say_none() -> None:
    metrics = task_metrics(np.zeros(0, np.float32), np.zeros(0, np.bool_), np.zeros(0, np.float32))
    assert (metrics["auc"], metrics["log_loss"], metrics["pairs"]) == (None, None, 0)
