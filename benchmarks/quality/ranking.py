"""From scores to lists: every user's best items of the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse

Scores = npt.NDArray[np.float32]
Scorer = Callable[[slice], Scores]
"""Scores of all items for some users' rows: float32[rows, I + 1], a fresh array."""
Lists = npt.NDArray[np.int32]
"""[U, length] items, best first; 0 where a list ends early."""

USERS_AT_ONCE = 1024
_TIE = 1e-6
"""What popularity adds at most, as a share of a user's largest score: it orders what is equal."""


def best_lists(
    scores: Scorer, users: int, eligible: npt.NDArray[np.bool_], barred: sparse.csr_matrix | None, length: int
) -> Lists:
    """The `length` best of the `eligible` items that are not `barred` for the user.

    Equal scores go by item index, so by popularity in training.
    """
    lists = np.zeros((users, length), np.int32)
    for start in range(0, users, USERS_AT_ONCE):
        rows = slice(start, min(start + USERS_AT_ONCE, users))
        block = _untied(scores(rows))
        block[:, ~eligible] = -np.inf
        if barred is not None:
            block[barred[rows].nonzero()] = -np.inf
        lists[rows] = _best(block, length)
    return lists


def _untied(block: Scores) -> Scores:
    largest = np.abs(block).max(axis=1, keepdims=True)
    block /= np.where(largest > 0, largest, 1)
    block += _TIE * np.linspace(1, 0, block.shape[1], dtype=np.float32)
    return block


def _best(block: Scores, length: int) -> Lists:
    found = min(length, block.shape[1] - 1)
    best = np.sort(np.argpartition(-block, found - 1, axis=1)[:, :found], axis=1)
    values = np.take_along_axis(block, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best = np.where(np.isfinite(values), best, 0)
    lists = np.zeros((len(block), length), np.int32)
    lists[:, :found] = np.take_along_axis(best, order, axis=1)
    return lists
