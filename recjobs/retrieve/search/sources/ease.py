"""EASE: what the user had says, item by item, what they will have, by a linear model in closed form.

H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019. With X the binary users × items matrix and
P = (XᵀX + l2·I)⁻¹, the weights are B = I - P / diag(P) (equation 8): items are judged beside each other, so that one
which merely is popular with everybody says little. A user's score of an item is the sum over what they had of event
weight × 0.5^(age / half-life) × B; below 0 it counts as nothing to say.

The most popular items take part: time grows with their cube and memory with their square.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from recjobs.errors import SettingsError
from recjobs.retrieve.search.sources.config import EaseConfig
from recjobs.retrieve.search.sources.cooccurrence import Sequences
from recjobs.retrieve.search.sources.scores import SparseScores, csr
from recjobs.retrieve.search.sources.users import DAY, Users

Floats = npt.NDArray[np.float32]
_ROWS_AT_ONCE = 512


def had(events: Sequences, items: int) -> Any:
    """X of the items up to index `items`: CSR float32[users, items], column i is item index i + 1."""
    known = events.item <= items
    rows, at = events.user[known], events.item[known] - 1
    users = int(rows.max(initial=-1)) + 1
    return csr(np.ones(len(rows)), rows, at, (users, items)).sign()


def add_gram(total: Floats, interactions: Any) -> None:
    """Adds XᵀX to `total` in place, some rows at a time."""
    transposed = interactions.T.tocsr()
    for start in range(0, len(total), _ROWS_AT_ONCE):
        total[start : start + _ROWS_AT_ONCE] += (transposed[start : start + _ROWS_AT_ONCE] @ interactions).toarray()


def item_weights(gram: Floats, l2: float) -> Floats:
    """B of XᵀX: float32[items, items], zero on the diagonal; `gram` is overwritten.

    Raises:
        SettingsError: `l2` is too small for the inverse to exist in single precision.
    """
    np.einsum("ii->i", gram)[:] += l2
    # The transpose of a symmetric matrix in C order is the same in the order that LAPACK works on without a copy.
    factor, failed = lapack.spotrf(gram.T, lower=1, overwrite_a=1)
    if failed:
        raise SettingsError(
            f"retrieve.search.sources.ease.l2: {l2:g} is too small for the inverse to exist. Take a larger one.", l2=l2
        )
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    _mirror(inverse)
    inverse /= -np.diag(inverse).copy()
    np.fill_diagonal(inverse, 0)
    weights: Floats = inverse
    return weights


def strongest(weights: Floats, neighbours: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Floats]:
    """The cells of each row with the largest absolute weights: row, column and weight, by row, then column.

    At most `neighbours` a row, none of 0; of equal ones at the border, those with the smaller column.
    """
    kept = [_strongest_rows(weights, start, neighbours) for start in range(0, len(weights), _ROWS_AT_ONCE)]
    rows, columns, values = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return rows.astype(np.int32), columns.astype(np.int32), values


class Ease:
    """Scores items by all the user had, the latest most."""

    def __init__(self, weights: Any, by_type: npt.NDArray[np.float64], now: int, settings: EaseConfig) -> None:
        """`weights` CSR float32[items + 1, N], columns positions in what is searched; `by_type` by event code."""
        self._weights, self._by_type, self._now, self._settings = weights, by_type, now, settings

    def block(self, users: Users) -> SparseScores:
        """The scores of `users`."""
        age = np.maximum(self._now - users.last, 0) / DAY
        says = self._by_type[users.kind] * 0.5 ** (age / self._settings.half_life_days)
        history = csr(says, users.rows(), users.item, (len(users), self._weights.shape[0]))
        scores = (history @ self._weights).astype(np.float32)
        scores.data = np.maximum(scores.data, 0)
        scores.eliminate_zeros()
        return SparseScores(scores)


def _mirror(lower: Floats) -> None:
    """Fills the upper triangle from the lower one, in place."""
    for start in range(0, len(lower), _ROWS_AT_ONCE):
        stop = start + _ROWS_AT_ONCE
        block = np.tril(lower[start:stop, start:stop])
        lower[start:stop, start:stop] = block + np.tril(block, -1).T
        lower[start:stop, stop:] = lower[stop:, start:stop].T


def _strongest_rows(
    weights: Floats, start: int, neighbours: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    part = weights[start : start + _ROWS_AT_ONCE]
    order = np.argsort(-np.abs(part), axis=1, kind="stable")[:, :neighbours]
    kept = np.zeros(part.shape, bool)
    np.put_along_axis(kept, order, True, axis=1)
    rows, columns = np.nonzero(kept & (part != 0))
    return rows + start, columns, np.ascontiguousarray(part[rows, columns])
