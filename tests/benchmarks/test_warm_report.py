"""What the report says of nights with known figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.warm_report import Judged, Night, said_of, summary_of, write_report


def judged(recall: float, seconds: float, estimate: float = 0.0, drift: float = 0.0) -> Judged:
    metrics = {"drift": drift, "drift_estimate": estimate}
    return Judged(recall, recall, 0.0, 0.0, 100, seconds / 2, seconds, seconds * 2, int(seconds), metrics, [])


NIGHTS = [
    Night("2026-06-01", 0.10, {"full": judged(0.40, 60), "warm": judged(0.40, 12), "again": judged(0.42, 60)}),
    Night("2026-06-02", 0.12, {"full": judged(0.40, 40), "warm": judged(0.30, 12, 0.01)}),
    Night("2026-06-03", 0.14, {"full": judged(0.40, 20), "warm": judged(0.35, 6, 0.24, 0.2)}),
    Night("2026-06-04", 0.14, {"full": judged(0.40, 20), "warm": judged(0.40, 5, 0.13, 0.1)}),
]


def test_costs_are_seconds_over_all_nights_and_losses_shares_of_the_full_trainings_recall() -> None:
    summary = summary_of(NIGHTS)
    assert summary["cost_stage"] == summary["cost_fit"] == summary["cost_cpu"] == pytest.approx(35 / 140)
    assert summary["warm_loss"] == pytest.approx(1 - 1.45 / 1.6)
    assert summary["warm_worst_loss"] == pytest.approx(0.25)
    assert summary["recall_popular"] == pytest.approx(0.125)


def test_chance_is_what_two_full_trainings_differ_by() -> None:
    assert summary_of(NIGHTS)["chance_of_a_night"] == pytest.approx(0.05 / 2**0.5)
    assert "chance_of_a_night" not in summary_of(NIGHTS[1:])


def test_a_nights_loss_stands_beside_what_the_next_nights_test_said() -> None:
    assert said_of(NIGHTS, "warm") == [
        (0, 0.01, 0.0),
        (pytest.approx(0.25), 0.24, 0.2),
        (pytest.approx(0.125), 0.13, 0.1),
    ]
    assert summary_of(NIGHTS)["estimate_against_loss"] > 0.99


def test_nights_are_written_as_they_come(tmp_path: Path) -> None:
    for done in range(1, len(NIGHTS) + 1):
        write_report(NIGHTS[:done], {"seed": 3}, 20, tmp_path)
        content = json.loads((tmp_path / "warm_start.json").read_text())
        assert [night["ds"] for night in content["nights"]] == [night.ds for night in NIGHTS[:done]]
    assert content["seed"] == 3
    assert (tmp_path / "warm_start.png").stat().st_size > 10_000
