"""Item-KNN over sequences with recency: items that followed, or stood near, the user's latest ones.

sim(i, j) = sum over i, j in one user's last training events of w(days between), where j before i counts `backward`,
divided by n(i)^`from_power` n(j)^`to_power`. A user's score of j is the sum of sim over the history, each event
weighted by its age.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from benchmarks.quality.baselines.repeat import own_items
from benchmarks.quality.problem import SECONDS_A_DAY, Events, Problem, counted
from benchmarks.quality.ranking import Scorer, Scores


def fit(problem: Problem, parameters: Mapping[str, Any], seed: int) -> Scorer:  # noqa: ARG001
    """`window`: events between two at most; `pair_half_life_days` and `half_life_days`: gap and age that count half."""
    of_items = {name: value for name, value in parameters.items() if name != "half_life_days"}
    similar = problem.once("similar", of_items, lambda: similarities(problem.trained, problem.shape[1], of_items))
    own = own_items(problem, parameters["half_life_days"])

    def scores(rows: slice) -> Scores:
        block: Scores = (own[rows] @ similar).toarray().astype(np.float32)
        return block

    return scores


def similarities(events: Events, width: int, parameters: Mapping[str, Any]) -> sparse.csr_matrix:
    """float64[width, width], row i what a user with i is shown; nothing on the diagonal."""
    shape = (width, width)
    following = sparse.csr_matrix(shape, dtype=np.float64)
    for lag in range(1, parameters["window"] + 1):
        first, second, weights = _pairs(events, lag, parameters["pair_half_life_days"])
        if len(first) == 0:
            break
        following = following + counted(first, second, weights, shape)
    both = following + parameters["backward"] * following.T
    count = np.maximum(np.bincount(events.item, minlength=width), 1).astype(np.float64)
    scaled = sparse.diags(count ** -parameters["from_power"]) @ both @ sparse.diags(count ** -parameters["to_power"])
    return (scaled - sparse.diags(scaled.diagonal())).tocsr()


def _pairs(
    events: Events, lag: int, half_life_days: float | None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The pairs of one user's events that stand `lag` apart: earlier item, later item, weight."""
    mine = events.user[:-lag] == events.user[lag:]
    first, second = events.item[:-lag][mine], events.item[lag:][mine]
    days = (events.time[lag:] - events.time[:-lag])[mine] / SECONDS_A_DAY
    return first, second, np.ones(len(days)) if half_life_days is None else 0.5 ** (days / half_life_days)
