"""Does the ranker beat retrieval order? The blend weight is chosen by NDCG on held-out outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recjobs.rank.blend import blended
from recjobs.rank.block import FloatArray

WEIGHTS = tuple(step / 10 for step in range(11))
NDCG_AT = 20
_SURE = 1.645
"""Standard errors by which the best blend must beat retrieval order: one-sided 95 %."""


@dataclass(frozen=True)
class Verdict:
    """NDCG@20 by blend weight (0: retrieval, 1: ranker), over `users` users, and the weight chosen."""

    weight: float
    ndcg: dict[float, float]
    users: int
    gain: float
    """NDCG of the best blend less that of retrieval order."""
    gain_error: float
    """Its standard error, over users."""


def choose_blend(
    standard_score: FloatArray,
    utility: npt.NDArray[np.float64],
    gains: npt.NDArray[np.float64],
    open_pairs: npt.NDArray[np.bool_],
    lengths: npt.NDArray[np.int64],
) -> Verdict:
    """The blend weight with the best mean NDCG, or 0 unless it beats retrieval order beyond chance.

    Pairs stand user by user, best retrieved first; `lengths` counts each user's. `gains` float64[P] is what a pair
    turned out to be worth; only `open_pairs` bool[P] are ranked. Users without a gain are passed over. Of equal
    weights the smallest wins.
    """
    by_user = np.array(
        [
            ndcg_by_user(blended(standard_score, utility, lengths, weight), gains, open_pairs, lengths)
            for weight in WEIGHTS
        ]
    )
    users = by_user.shape[1]
    if not users:
        return Verdict(0.0, {}, 0, 0.0, 0.0)
    means = by_user.mean(axis=1)
    best = int(np.argmax(means))
    difference = by_user[best] - by_user[0]
    error = float(difference.std(ddof=1) / np.sqrt(users)) if users > 1 else float("inf")
    gain = float(difference.mean())
    weight = WEIGHTS[best] if gain > _SURE * error else 0.0
    ndcg = dict(zip(WEIGHTS, means.tolist(), strict=True))
    return Verdict(weight, ndcg, users, gain, error if users > 1 else 0.0)


def ndcg_by_user(
    scores: FloatArray,
    gains: npt.NDArray[np.float64],
    open_pairs: npt.NDArray[np.bool_],
    lengths: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """NDCG@20 of each user that has a gain, among the open pairs; ties keep their order.

    Linear gains, discount log2(position + 1).
    """
    user = np.repeat(np.arange(len(lengths)), lengths)[open_pairs]
    gain = np.maximum(gains[open_pairs], 0.0)
    achieved = _dcg(user, scores[open_pairs], gain, len(lengths))
    ideal = _dcg(user, gain, gain, len(lengths))
    some = ideal > 0
    result: npt.NDArray[np.float64] = achieved[some] / ideal[some]
    return result


def _dcg(
    user: npt.NDArray[np.int64], key: npt.NDArray[np.floating], gain: npt.NDArray[np.float64], users: int
) -> npt.NDArray[np.float64]:
    order = np.lexsort((-key, user))
    counts = np.bincount(user, minlength=users)
    position = np.arange(len(user)) - (np.cumsum(counts) - counts)[user[order]]
    value = np.where(position < NDCG_AT, gain[order] / np.log2(position + 2.0), 0.0)
    total: npt.NDArray[np.float64] = np.bincount(user[order], value, minlength=users).astype(np.float64)
    return total
