"""EASE, the linear item-to-item model in closed form (Steck, 2019, "Embarrassingly Shallow Autoencoders")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.quality.problem import Problem
from benchmarks.quality.ranking import Scorer, Scores
from recjobs.retrieve.search.sources.ease import add_gram
from recjobs.retrieve.search.sources.ease import item_weights as closed_form


def fit(problem: Problem, parameters: Mapping[str, Any], seed: int) -> Scorer:  # noqa: ARG001
    """`l2`: the weight of the penalty."""
    known, l2 = problem.known, parameters["l2"]
    weights = problem.once("ease", l2, lambda: item_weights(problem.matrix(problem.trained), l2))

    def scores(rows: slice) -> Scores:
        block: Scores = known[rows] @ weights
        return block

    return scores


def item_weights(interactions: Any, l2: float) -> npt.NDArray[np.float32]:
    """float32[I + 1, I + 1], zero on the diagonal."""
    width = interactions.shape[1]
    gram = np.zeros((width, width), np.float32)
    add_gram(gram, interactions.tocsr())
    return np.ascontiguousarray(closed_form(gram, l2))
