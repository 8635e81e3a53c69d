"""What a source says of the items for a block of users: its best ones, and its score of any.

Items are positions in the searched database, whose item indexes ascend: ties by position are ties by item index.
Scores are not negative, and 0 means that the source has nothing to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recjobs.ragged import places, rows_of

Positions = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

NOTHING = -1
"""The position where a source proposes fewer items than its quota."""
_LOW = 0xFFFFFFFF
_SCRATCH_CELLS = 400_000
"""Scores laid out to be looked up: few enough for a processor's cache."""


class Scores(Protocol):
    """A source's scores for B users."""

    def top(self, quota: int) -> Positions:
        """The best items with a score above 0, int32[B, quota], best first, ties by position; NOTHING behind them."""

    def of(self, position: Positions) -> Floats:
        """The scores of these items, float32[B, K] for int32[B, K]."""


@dataclass(frozen=True)
class SparseScores:
    """Scores by user, `matrix` float32[B, items] in CSR without duplicates."""

    matrix: Any

    def top(self, quota: int) -> Positions:
        """See `Scores`."""
        lengths = np.diff(self.matrix.indptr).astype(np.int64)
        keys = np.zeros((len(lengths), max(quota, int(lengths.max(initial=0)))), np.int64)
        keys[rows_of(lengths), places(lengths)] = _keys(self.matrix.data, self.matrix.indices)
        return _best(keys, quota)

    def of(self, position: Positions) -> Floats:
        """See `Scores`."""
        found = np.zeros(position.shape, np.float32)
        step = max(1, _SCRATCH_CELLS // self.matrix.shape[1])
        scratch = np.zeros((min(step, len(position)), self.matrix.shape[1]), np.float32)
        for start in range(0, len(position), step):
            self._look_up(start, position[start : start + step], scratch, found[start : start + step])
        return found

    def _look_up(self, start: int, position: Positions, scratch: Floats, into: Floats) -> None:
        pointers = self.matrix.indptr[start : start + len(position) + 1]
        part = slice(pointers[0], pointers[-1])
        cells = rows_of(np.diff(pointers).astype(np.int64)), self.matrix.indices[part]
        scratch[cells] = self.matrix.data[part]
        into[:] = scratch[np.arange(len(position))[:, np.newaxis], position]
        scratch[cells] = 0


@dataclass(frozen=True)
class TableScores:
    """Scores that many users share: user b has row `row[b]` of `table` float32[S, items]; `best` is `top_of(table)`."""

    row: npt.NDArray[np.int64]
    table: Floats
    best: Positions

    def top(self, quota: int) -> Positions:
        """See `Scores`; `quota` is at most the width of `best`."""
        return self.best[self.row, :quota]

    def of(self, position: Positions) -> Floats:
        """See `Scores`."""
        return self.table[self.row[:, np.newaxis], position]


def top_of(table: Floats, quota: int) -> Positions:
    """The best items of each row of `table` as `Scores.top` gives them."""
    items = np.arange(table.shape[1], dtype=np.int32)
    rows = [_best(_padded(_keys(row, items), quota), quota) for row in table]
    return np.concatenate(rows) if rows else np.zeros((0, quota), np.int32)


def csr(data: npt.NDArray[Any], rows: npt.NDArray[Any], columns: npt.NDArray[Any], shape: tuple[int, int]) -> Any:
    """A float32 CSR matrix in which equal cells are added up."""
    return sparse.coo_matrix((data.astype(np.float32), (rows, columns)), shape=shape).tocsr()


def _keys(scores: Floats, position: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Whole numbers in the order of score, then of falling position; 0 for a score of 0.

    A float32 that is not negative has its bits in its own order.
    """
    bits = np.ascontiguousarray(scores, np.float32).view(np.int32).astype(np.int64)
    keys = (bits << 32) | (_LOW - position.astype(np.int64))
    return np.where(bits > 0, keys, 0)


def _padded(keys: npt.NDArray[np.int64], quota: int) -> npt.NDArray[np.int64]:
    return np.pad(keys, (0, max(0, quota - len(keys))))[np.newaxis]


def _best(keys: npt.NDArray[np.int64], quota: int) -> Positions:
    width = keys.shape[1]
    if width > quota:
        keys = np.partition(keys, width - quota, axis=1)[:, width - quota :]
    ordered = np.sort(keys, axis=1)[:, ::-1]
    return np.where(ordered > 0, _LOW - (ordered & _LOW), NOTHING).astype(np.int32)
