"""EASE, the linear item-to-item model in closed form (Steck, 2019, "Embarrassingly Shallow Autoencoders")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from benchmarks.quality.problem import Problem
from benchmarks.quality.ranking import Scorer, Scores


def fit(problem: Problem, parameters: Mapping[str, Any], seed: int) -> Scorer:  # noqa: ARG001
    """`l2`: the weight of the penalty."""
    known, l2 = problem.known, parameters["l2"]
    weights = problem.once("ease", l2, lambda: item_weights(problem.matrix(problem.trained), l2))

    def scores(rows: slice) -> Scores:
        block: Scores = known[rows] @ weights
        return block

    return scores


def item_weights(interactions: Any, l2: float) -> npt.NDArray[np.float32]:
    """float32[I + 1, I + 1], zero on the diagonal (equation 8): B = I - P / diag(P), P = (X'X + l2 I)⁻¹."""
    gram = (interactions.T @ interactions).toarray(order="F").astype(np.float32, copy=False)
    np.einsum("ii->i", gram)[:] += l2
    inverse = _inverse(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return np.ascontiguousarray(weights)


def _inverse(symmetric: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The inverse of a positive definite matrix by Cholesky: half the work and memory of a general one."""
    factor, failed = lapack.spotrf(symmetric, lower=1, overwrite_a=1)
    if failed:
        raise ValueError(f"the matrix is not positive definite (minor {failed}); l2 must be above 0")
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    lower = np.tril(inverse)
    whole: npt.NDArray[np.float32] = lower + np.tril(lower, -1).T
    return whole
