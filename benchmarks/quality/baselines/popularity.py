"""What most users had an event with in the last days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.quality.problem import SECONDS_A_DAY, Problem
from benchmarks.quality.ranking import Scorer, Scores


def fit(problem: Problem, parameters: Mapping[str, Any], seed: int) -> Scorer:  # noqa: ARG001
    """`days`: how far back events count; null, all of them."""
    events, days = problem.trained, parameters["days"]
    last = events.time.max(initial=0)
    recent = slice(None) if days is None else events.time > last - days * SECONDS_A_DAY
    count = np.bincount(events.item[recent], minlength=problem.shape[1]).astype(np.float32)

    def scores(rows: slice) -> Scores:
        return np.tile(count, (rows.stop - rows.start, 1))

    return scores
