"""EASE and the user's own items together, each scaled to a largest score of 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.quality.baselines import ease, repeat
from benchmarks.quality.problem import Problem
from benchmarks.quality.ranking import Scorer, Scores


def fit(problem: Problem, parameters: Mapping[str, Any], seed: int) -> Scorer:
    """`l2` as for EASE, `half_life_days` as for repeat, `repeat_share` the share of the second in the sum."""
    shares = 1 - parameters["repeat_share"], parameters["repeat_share"]
    parts = [module.fit(problem, parameters, seed) for module in (ease, repeat)]

    def scores(rows: slice) -> Scores:
        first, second = (share * _scaled(part(rows)) for share, part in zip(shares, parts, strict=True))
        block: Scores = first + second
        return block

    return scores


def _scaled(block: Scores) -> Scores:
    largest = block.max(axis=1, keepdims=True)
    scaled: Scores = (block / np.where(largest > 0, largest, 1)).astype(np.float32)
    return scaled
