"""Means over cases and seeds, written and drawn."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from benchmarks.quality.cases import BEAUTY, DATA_SETS, ONLINE_RETAIL, Case
from benchmarks.quality.measuring import Measured
from benchmarks.quality.picture import draw
from benchmarks.quality.report import summaries, write_json
from benchmarks.quality.tuning import chosen_parameters
from recjobs.settings import load_settings

EARLY, LATE = (Case(str(day), "week", day, 7) for day in (date(2011, 9, 5), date(2011, 9, 19)))
RECALL = ("recall", 20)


def rows() -> list[Measured]:
    values = [(EARLY, 17, 0.1), (LATE, 17, 0.3), (EARLY, 18, 0.2), (LATE, 18, 0.4)]
    ours = [Measured(case, "recjobs towers", seed, {RECALL: value}) for case, seed, value in values]
    return [*ours, Measured(EARLY, "ease", 17, {RECALL: 0.15}), Measured(LATE, "ease", 17, {RECALL: 0.25})]


def test_the_spread_is_over_seeds_of_the_mean_over_cases() -> None:
    found = {(one.case, one.method): one for one in summaries(rows())}
    ours = found["week", "recjobs towers"]
    assert ours.by_seed == {17: pytest.approx(0.2), 18: pytest.approx(0.3)}
    assert ours.mean == pytest.approx(0.25)
    assert ours.spread == pytest.approx(0.1 / 2**0.5)
    assert (found["week", "ease"].mean, found["week", "ease"].spread) == (pytest.approx(0.2), 0)
    assert found["2011-09-05", "recjobs towers"].mean == pytest.approx(0.15)


def test_json_has_rows_parameters_and_references_and_the_picture_is_drawn(tmp_path: Path) -> None:
    cases = [
        Measured(case, method, seed, dict.fromkeys(BEAUTY.measures, 0.01 * seed))
        for case in BEAUTY.cases
        for method, seed in (("ease", 17), ("recjobs towers", 17), ("recjobs towers", 18))
    ]
    found = summaries(cases)
    write_json(tmp_path / "beauty.json", BEAUTY, found, {"retrieve.train.epochs": 1})
    written = json.loads((tmp_path / "beauty.json").read_text())
    assert written["parameters"] == {"ease": chosen_parameters("beauty", "ease")}
    assert {"protocol": "final", "name": "target", "metric": "recall", "k": 10, "value": 0.108} in written["references"]
    row = next(row for row in written["rows"] if (row["method"], row["case"]) == ("recjobs towers", "final"))
    assert row["by_seed"] == {"17": pytest.approx(0.17), "18": pytest.approx(0.18)}
    draw(tmp_path / "beauty.png", BEAUTY, found)
    assert (tmp_path / "beauty.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=list(DATA_SETS))
def test_parameters_are_chosen_before_anything_that_is_judged(data_set: object) -> None:
    assert data_set in (BEAUTY, ONLINE_RETAIL)
    first = min(case.ds for case in data_set.cases)  # type: ignore[attr-defined]
    assert all(case.until <= first for case in data_set.validation)  # type: ignore[attr-defined]
    for baseline in data_set.baselines:  # type: ignore[attr-defined]
        assert chosen_parameters(data_set.name, baseline)  # type: ignore[attr-defined]


def test_published_learns_without_the_day_that_is_in_the_history() -> None:
    published, final = BEAUTY.cases
    assert load_settings("sequences", published.overrides).time.train_lag_days == 1
    assert load_settings("sequences", published.overrides).time.history_lag_days == 0
    assert load_settings("sequences", final.overrides).time.train_lag_days == 0
