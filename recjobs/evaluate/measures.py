"""Recall, NDCG and hit rate of ranked lists, for many users at once.

A hit is a listed item that is among the user's outcomes (the truth). Relevance is binary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recjobs.ragged import Ints

MEASURES = ("recall", "ndcg", "hit_rate")

Floats = npt.NDArray[np.float64]


def columns_of(at: Sequence[int]) -> list[tuple[str, int]]:
    """The measures and list lengths of `measure`'s columns, in their order."""
    return [(name, k) for k in at for name in MEASURES]


def measure(rows: Ints, ranks: Ints, truth: Ints, at: Sequence[int]) -> Floats:
    """Each user's measures, float64[users, len(columns_of(at))].

    `rows` and `ranks` are the user and the rank, from 0, of every hit; `truth[user]` > 0 is how many outcome items the
    user has, listed or not. At each k:

    - recall = hits in the first k / truth, the whole truth also where it is larger than k;
    - ndcg = sum over these hits of 1 / log2(rank + 2), divided by the same sum of a list that has min(k, truth) hits
      in front (Järvelin and Kekäläinen 2002, with binary gains);
    - hit_rate = 1 where there is a hit in the first k, else 0.

    A list shorter than k counts as it is.
    """
    users = len(truth)
    gains = 1 / np.log2(ranks + 2.0)
    found = []
    for k in at:
        within = ranks < k
        hits = np.bincount(rows[within], minlength=users)
        gained = np.bincount(rows[within], weights=gains[within], minlength=users)
        found += [hits / truth, gained / _ideal(k)[np.minimum(truth, k)], (hits > 0).astype(np.float64)]
    return np.stack(found, axis=1) if users else np.empty((0, len(columns_of(at))))


def _ideal(k: int) -> Floats:
    """What 0, 1, … k hits in front gain."""
    gains: Floats = 1 / np.log2(np.arange(k) + 2.0)
    return np.concatenate([np.zeros(1), np.cumsum(gains)])
