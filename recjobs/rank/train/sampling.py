"""Which pairs are learnt from, and how many unseen pairs each stands for.

Users with an outcome are learnt from with all their pairs that had one and `negatives_per_user` of those that had
none; as many users without any outcome join with as many pairs, so that probabilities hold for everybody and not
only for the active. A pair's weight is the inverse of its chance to be taken (Horvitz–Thompson), which corrects
the sampling for every task at once: a viewed pair, kept for `click`, may be a negative of `purchase`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Sample:
    """Pairs taken from a shard.

    `pairs` int64[taken], ascending; `weight` float32[taken], 0 for pairs that are only judged; `judged`
    bool[users], users all of whose pairs are taken.
    """

    pairs: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]
    judged: npt.NDArray[np.bool_]


def sample_pairs(
    user: npt.NDArray[np.int64],
    positive: npt.NDArray[np.bool_],
    users: int,
    *,
    negatives: int,
    users_limit: int,
    judged_limit: int,
    random: np.random.Generator,
) -> Sample:
    """Samples one shard's pairs; `user` ascending int64[pairs], `positive` bool[pairs]."""
    with_pairs = np.bincount(user, minlength=users) > 0
    active = np.bincount(user, positive, minlength=users) > 0
    chosen_active = _choose(np.flatnonzero(active), users_limit, random)
    quiet = np.flatnonzero(with_pairs & ~active)
    chosen_quiet = _choose(quiet, max(len(chosen_active), 1), random)
    user_weight = np.zeros(users)
    user_weight[chosen_active] = active.sum() / max(len(chosen_active), 1)
    user_weight[chosen_quiet] = len(quiet) / max(len(chosen_quiet), 1)
    judged = np.zeros(users, np.bool_)
    judged[chosen_active[:judged_limit]] = True

    weight = user_weight[user] * _pair_weight(user, positive, users, negatives, random)
    taken = np.flatnonzero((weight > 0) | judged[user])
    return Sample(taken, weight[taken].astype(np.float32), judged)


def _choose(rows: npt.NDArray[np.int64], limit: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """At most `limit` of `rows`, in random order."""
    return random.permutation(rows)[:limit]


def _pair_weight(
    user: npt.NDArray[np.int64],
    positive: npt.NDArray[np.bool_],
    users: int,
    negatives: int,
    random: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """1 for positives; for `negatives` random others of each user, all others / those taken; 0 for the rest."""
    rows = np.flatnonzero(~positive)
    order = rows[np.lexsort((random.random(len(rows)), user[rows]))]
    counts = np.bincount(user[rows], minlength=users)
    starts = np.cumsum(counts) - counts
    position = np.arange(len(order)) - starts[user[order]]
    weight = np.ones(len(user))
    taken = np.minimum(counts, negatives)[user[order]]
    weight[order] = np.where(position < negatives, counts[user[order]] / np.maximum(taken, 1), 0.0)
    return weight
