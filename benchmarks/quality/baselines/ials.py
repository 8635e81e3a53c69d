"""iALS: matrix factorisation for implicit feedback (Hu, Koren, Volinsky, 2008), by `implicit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from benchmarks.quality.problem import Problem
from benchmarks.quality.ranking import Scorer, Scores

ROWS_AT_ONCE = 4096


def fit(problem: Problem, parameters: Mapping[str, Any], seed: int) -> Scorer:
    """`factors`, `regularization`, `alpha`, `iterations` as `implicit` names them. Users come from their histories."""
    # The library asks for it: its own threads and those of BLAS get in each other's way.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=parameters["factors"],
            regularization=parameters["regularization"],
            alpha=parameters["alpha"],
            iterations=parameters["iterations"],
            random_state=seed,
        )
        model.fit(problem.matrix(problem.trained), show_progress=False)
        users = _users(model, problem)
    items = np.asarray(model.item_factors)

    def scores(rows: slice) -> Scores:
        block: Scores = users[rows] @ items.T
        return block

    return scores


def _users(model: AlternatingLeastSquares, problem: Problem) -> Scores:
    """Factors of all users: the training's own don't know what came after `train_until`."""
    starts = range(0, problem.shape[0], ROWS_AT_ONCE)
    blocks = [np.arange(start, min(start + ROWS_AT_ONCE, problem.shape[0])) for start in starts]
    return np.concatenate([model.recalculate_user(block, problem.known[block]) for block in blocks])
