"""The baselines: each module's `fit(problem, parameters, seed)` learns from `problem.trained` and returns a scorer.

A scorer judges users by `problem.history`. None looks at anything later, or at a user's outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.quality.baselines import ease, ease_repeat, ials, popularity, repeat, sequence_knn
from benchmarks.quality.problem import Problem
from benchmarks.quality.ranking import Scorer

Parameters = Mapping[str, Any]

BASELINES: dict[str, Callable[[Problem, Parameters, int], Scorer]] = {
    "popularity": popularity.fit,
    "ials": ials.fit,
    "ease": ease.fit,
    "sequence_knn": sequence_knn.fit,
    "repeat": repeat.fit,
    "ease_repeat": ease_repeat.fit,
}
SEEDED = frozenset({"ials"})
"""Those whose lists depend on the seed."""
