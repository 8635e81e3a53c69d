from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recjobs.retrieve.train.drift import Foresight, drift_of, foresight_of, reaching
from recjobs.storage import StoredFile

FULL = {"warm_nights": 0.0, "drift": 0.0}


def test_the_first_warm_night_is_the_reference() -> None:
    metrics = drift_of(Foresight(0.3, 0.1, 0.02, 5000), FULL)
    assert metrics["drift"] == metrics["drift_estimate"] == 0
    assert metrics["reference_lift"] == pytest.approx(3)
    assert metrics["reference_error"] == 0.02


def test_drift_is_the_lost_share_of_the_references_lift_without_what_may_be_chance() -> None:
    second = {"warm_nights": 1.0, "reference_lift": 3.0, "reference_error": 0.0}
    exact = drift_of(Foresight(0.2, 0.1, 0.0, 5000), second)
    assert exact["drift"] == exact["drift_estimate"] == pytest.approx(1 / 3)
    unsure = drift_of(Foresight(0.2, 0.1, 0.1, 50), second)
    assert unsure["drift_estimate"] == pytest.approx(1 / 3)
    assert unsure["drift"] == pytest.approx(1 - np.exp(-(np.log(1.5) - 0.2)))
    assert drift_of(Foresight(0.2, 0.1, 0.3, 5), second)["drift"] == 0
    risen = drift_of(Foresight(0.4, 0.1, 0.0, 5000), second)
    assert risen["drift"] == 0
    assert risen["drift_estimate"] == pytest.approx(-1 / 3)


def test_an_easier_day_is_no_better_chain() -> None:
    second = {"warm_nights": 1.0, "reference_lift": 3.0, "reference_error": 0.0}
    easier = drift_of(Foresight(0.6, 0.2, 0.0, 5000), second)
    assert easier["drift_estimate"] == pytest.approx(0)


@pytest.mark.parametrize("seen", [Foresight(0, 0, 0, 0), Foresight(0.1, 0, 0, 9), Foresight(0, 0.1, 0, 9)])
def test_nothing_tested_is_no_drift_and_keeps_the_reference(seen: Foresight) -> None:
    second = {"warm_nights": 1.0, "reference_lift": 3.0, "reference_error": 0.1}
    metrics = drift_of(seen, second)
    assert metrics["drift"] == metrics["drift_estimate"] == 0
    assert (metrics["reference_lift"], metrics["reference_error"]) == (3.0, 0.1)
    assert drift_of(Foresight(0.2, 0.1, 0, 9), drift_of(seen, FULL) | {"warm_nights": 1.0})["drift"] == 0


@given(st.integers(0, 10_000))
def test_the_error_is_that_of_the_ratio(seed: int) -> None:
    random = np.random.default_rng(seed)
    popular = random.random(400)
    # Twice popularity for everybody: the ratio is certain, however users differ.
    certain = foresight_of(2 * popular, popular)
    assert certain.lift == pytest.approx(2)
    assert certain.error == pytest.approx(0, abs=1e-9)
    assert foresight_of(random.random(400), popular).error > 0.02


def test_chance_alone_seldom_is_drift() -> None:
    random = np.random.default_rng(3)

    def night() -> Foresight:
        return foresight_of(random.random(200) * 0.6, random.random(200) * 0.2)

    first = drift_of(night(), FULL) | {"warm_nights": 1.0}
    drifts = [drift_of(night(), first)["drift"] for _ in range(200)]
    assert np.mean([drift > 0 for drift in drifts]) < 0.15


@given(weeks=st.sets(st.integers(0, 8), min_size=1), days=st.integers(-20, 80))
def test_only_weeks_that_may_hold_something_later_are_read(weeks: set[int], days: int) -> None:
    monday = date(2026, 3, 30)
    starts = [monday + timedelta(weeks=week) for week in sorted(weeks)]
    shard = [StoredFile("", f"from={start}/part-00003.parquet", 1) for start in starts]
    after = monday + timedelta(days=days)
    later = {after + timedelta(days=1 + day) for day in range(200)}
    # A day is in the last file that begins with it or before it, in the first where none does.
    wanted = {max((start for start in starts if start <= day), default=starts[0]) for day in later}
    assert [file.name[5:15] for file in reaching(shard, after)] == [str(start) for start in sorted(wanted)]


def test_events_in_one_file_are_read_whole() -> None:
    one = [StoredFile("", "part-00000.parquet", 1)]
    assert reaching(one, date(2026, 4, 1)) == one
    assert reaching([], date(2026, 4, 1)) == []
