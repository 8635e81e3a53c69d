"""The user's own items, by how often and how lately; behind them what is popular."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.quality.problem import SECONDS_A_DAY, Problem, counted
from benchmarks.quality.ranking import Scorer, Scores


def fit(problem: Problem, parameters: Mapping[str, Any], seed: int) -> Scorer:  # noqa: ARG001
    """`half_life_days`: the age at which an event counts half; null, all alike."""
    own = own_items(problem, parameters["half_life_days"])

    def scores(rows: slice) -> Scores:
        block: Scores = own[rows].toarray().astype(np.float32)
        return block

    return scores


def own_items(problem: Problem, half_life_days: float | None) -> sparse.csr_matrix:
    """float64[U, I + 1]: each user's events with each item, weighted by age."""
    events = problem.history
    age = (problem.now - events.time) / SECONDS_A_DAY
    weights = np.ones(len(age)) if half_life_days is None else 0.5 ** (age / half_life_days)
    return counted(events.user, events.item, weights, problem.shape)
