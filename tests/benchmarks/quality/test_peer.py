"""The peer's features, beside a count by hand, and that it finds what decides."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality import peer
from benchmarks.quality.cases import ONLINE_RETAIL
from benchmarks.quality.peer import Week, fit, week_of
from recjobs.manifest import Manifest, cutoffs_of
from tests.benchmarks.quality.problems import problem_of

HISTORY = [(0, 1, 10), (0, 1, 90), (0, 2, 95), (1, 2, 60), (1, 3, 99), (2, 3, 20)]
PAIRS = (np.array([0, 0, 1, 1, 2]), np.array([1, 3, 2, 1, 3]))


def week(monkeypatch: pytest.MonkeyPatch) -> tuple[Week, dict[str, np.ndarray]]:
    """The candidates of three users, with scores of one baseline, and the features by name."""
    monkeypatch.setattr(peer, "candidates_of", lambda _: PAIRS)
    monkeypatch.setattr(peer, "SCORERS", ("repeat",))
    problem = problem_of(HISTORY, [(0, 3), (1, 1)], users=3, items=4)
    ds = ONLINE_RETAIL.cases[0].ds
    cutoffs = cutoffs_of(ds, train_lag_days=0, history_lag_days=0, label_days=7)
    search = Manifest(stage="retrieve/search", ds=ds, run="r", attempt="a", folder="f", cutoffs=cutoffs)
    found = week_of(ONLINE_RETAIL, problem, search, 1)
    assert found.features.shape == (len(PAIRS[0]), len(found.names))
    return found, {name: found.features[:, column] for column, name in enumerate(found.names)}


def test_features_are_those_of_a_count_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    found, columns = week(monkeypatch)
    assert found.outcome.tolist() == [False, True, False, True, False]
    expected = {
        "retrieval_rank": [0, 1, 0, 1, 0],
        "count": [2, 0, 1, 0, 1],
        "days_since": [10, 999, 40, 999, 80],
        "share_of_events": [2 / 3, 0, 1 / 2, 0, 1],
        "user_idle": [5, 5, 1, 1, 80],
        "popularity": [2, 2, 2, 2, 2],
        "popularity_7d": [0, 1, 1, 0, 1],
        "item_age": [90, 80, 40, 90, 80],
        "item_idle": [10, 1, 5, 10, 1],
        "history_events": [3, 3, 2, 2, 1],
        "history_items": [2, 2, 2, 2, 1],
        "history_days": [3, 3, 2, 2, 1],
        "repeat_rank": [0, 1, 0, 1, 0],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(columns[name], values, rtol=1e-6, err_msg=name)


def test_it_learns_what_decides() -> None:
    features = np.random.default_rng(0).normal(size=(3000, 3)).astype(np.float32)
    outcome = features[:, 1] > 1
    model = fit([features[:1000], features[1000:2000]], [outcome[:1000], outcome[1000:2000]], 1)
    score = model.predict(features[2000:])
    assert score[outcome[2000:]].mean() > 0.9
    assert score[~outcome[2000:]].mean() < 0.1
