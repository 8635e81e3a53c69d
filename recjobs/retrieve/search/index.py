"""Top-K by dot product over the items that may be recommended: exactly, or through a ScaNN index.

Both give the same: item indexes and scores, best first, equal scores by item index, always K of
them and none twice. ScaNN answers a query whose searched leaves hold too few items with
position 0 and NaN; such rows are searched again exactly.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from recjobs.errors import ModelError

Vectors = npt.NDArray[np.float32]
Indexes = npt.NDArray[np.int32]

MIN_TREE_ITEMS = 1000
"""Below this ScaNN's codebooks have too little to learn from, and exact search is instant anyway."""
_TRAINING_SAMPLE = 250_000
_ANISOTROPIC_THRESHOLD = 0.2
_EXACT_CELLS = 20_000_000
_EFFORTS = ((0.05, 3), (0.1, 3), (0.2, 6), (0.4, 6), (1.0, 4))
"""Share of the leaves looked into, and hits scored exactly as a multiple of K."""


@dataclass(frozen=True)
class Database:
    """The items that are searched: `item_index` int32[N] ascending, `vectors` float32[N, D]."""

    item_index: Indexes
    vectors: Vectors

    def __post_init__(self) -> None:
        if not len(self.item_index):
            raise ModelError("no item is available, so nobody can be given candidates. Check the items' `available`.")


class Found(NamedTuple):
    """K hits for each of B queries: `item_index` int32[B, K], `score` float32[B, K], and rows refilled exactly."""

    item_index: Indexes
    score: Vectors
    refilled: int


@dataclass(frozen=True)
class Effort:
    """How many leaves ScaNN looks into, and how many hits it scores exactly."""

    leaves: int
    reorder: int


class Backend(Protocol):
    """What proposes hits: ScaNN's searcher by either method."""

    def search_batched_parallel(self, queries: Vectors, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Positions in the database and scores, best first."""


class Searcher:
    """Searches a database for K hits; K is cut to the database's size. `effort` is None for exact search."""

    def __init__(self, database: Database, backend: Backend, k: int, effort: Effort | None = None) -> None:
        self.database = database
        self.k = min(k, len(database.item_index))
        self.effort = effort
        self._backend = backend

    def search(self, queries: Vectors) -> Found:
        """The K best items of each query, float32[B, D]."""
        if not len(queries):
            return Found(np.zeros((0, self.k), np.int32), np.zeros((0, self.k), np.float32), 0)
        position, score = self._propose(np.ascontiguousarray(queries, np.float32))
        short = short_rows(position, score, self.k)
        if len(short):
            position, score = _refill(self.database, queries, position, score, short, self.k)
        index = self.database.item_index[position]
        return Found(*ties_by_index(index, score), len(short))

    def _propose(self, queries: Vectors) -> tuple[npt.NDArray[Any], Vectors]:
        if self.effort is None:
            found = self._backend.search_batched_parallel(queries, self.k)
        else:
            found = self._backend.search_batched_parallel(queries, self.k, self.effort.reorder, self.effort.leaves)
        return found[0], np.asarray(found[1], np.float32)


def exact_searcher(database: Database, k: int) -> Searcher:
    """A searcher that compares every query with every item."""
    import scann

    k = min(k, len(database.item_index))
    return Searcher(
        database, scann.scann_ops_pybind.builder(database.vectors, k, "dot_product").score_brute_force().build(), k
    )


def build_index(database: Database, k: int) -> Any:
    """ScaNN's index: a tree, anisotropic hashing (Guo et al. 2020), exact reordering. Two builds differ slightly."""
    import scann

    effort = efforts(len(database.item_index), k)[0]
    size = len(database.item_index)
    return (
        scann.scann_ops_pybind.builder(database.vectors, min(k, size), "dot_product")
        .tree(leaf_count(size), effort.leaves, training_sample_size=min(size, _TRAINING_SAMPLE))
        .score_ah(2, anisotropic_quantization_threshold=_ANISOTROPIC_THRESHOLD)
        .reorder(effort.reorder)
        .build()
    )


def load_index(folder: Path) -> Any:
    """The index that was saved in `folder`."""
    import scann

    return scann.scann_ops_pybind.load_searcher(str(folder))


def check_saved_index(saved: Path, searcher: Searcher, queries: Vectors) -> None:
    """Moves a copy of the index in `saved`, loads it there, and compares its answers to `queries` with `searcher`'s.

    Raises:
        ModelError: it can't be loaded from another folder, or answers otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="recjobs-") as scratch:
        moved = shutil.copytree(saved, Path(scratch) / "moved")
        try:
            index = load_index(moved)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"{saved}: the saved index can't be loaded from another folder ({error}).") from error
        again = Searcher(searcher.database, index, searcher.k, searcher.effort).search(queries)
    here = searcher.search(queries)
    wrong = np.flatnonzero((here.item_index != again.item_index).any(axis=1))
    if len(wrong):
        raise ModelError(
            f"{saved}: the saved index, moved and loaded again, answers {len(wrong)} of {len(queries)} sampled users "
            "otherwise than the one that was built. Run the stage again."
        )


def leaf_count(items: int) -> int:
    """Leaves of the tree over so many items: about the square root."""
    return max(1, round(math.sqrt(items)))


def efforts(items: int, k: int) -> list[Effort]:
    """Rising efforts to try in turn: ever more leaves and reordered hits, the whole tree at last."""
    leaves = leaf_count(items)
    floor = math.ceil(3 * k * leaves / items)
    return [
        Effort(min(leaves, max(floor, math.ceil(share * leaves))), min(items, factor * max(k, 50)))
        for share, factor in _EFFORTS
    ]


def short_rows(position: npt.NDArray[Any], score: Vectors, k: int) -> npt.NDArray[np.int64]:
    """The rows with fewer than K hits: the answer has fewer columns, or a score that is not a number."""
    if position.shape[1] < k:
        return np.arange(len(position))
    return np.flatnonzero(np.isnan(score).any(axis=1))


def exact_top(queries: Vectors, vectors: Vectors, k: int) -> tuple[npt.NDArray[np.int64], Vectors]:
    """Positions int64[B, K] and scores of the K best rows of `vectors`, best first, ties by position."""
    block = max(1, _EXACT_CELLS // len(vectors))
    parts = [_exact_block(queries[start : start + block], vectors, k) for start in range(0, len(queries), block)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _exact_block(queries: Vectors, vectors: Vectors, k: int) -> tuple[npt.NDArray[np.int64], Vectors]:
    scores = queries @ vectors.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


def _refill(
    database: Database,
    queries: Vectors,
    position: npt.NDArray[Any],
    score: Vectors,
    rows: npt.NDArray[np.int64],
    k: int,
) -> tuple[npt.NDArray[np.int64], Vectors]:
    whole = np.zeros((len(queries), k), np.int64)
    scores = np.zeros((len(queries), k), np.float32)
    if position.shape[1] == k:
        whole[:], scores[:] = position, score
    whole[rows], scores[rows] = exact_top(queries[rows], database.vectors, k)
    return whole, scores


def ties_by_index(index: Indexes, score: Vectors) -> tuple[Indexes, Vectors]:
    """Rows ordered by score descending, then item index; only rows that are not yet so are touched."""
    wrong = (score[:, 1:] > score[:, :-1]) | ((score[:, 1:] == score[:, :-1]) & (index[:, 1:] < index[:, :-1]))
    rows = np.flatnonzero(wrong.any(axis=1))
    if not len(rows):
        return index, score
    order = np.lexsort((index[rows], -score[rows]), axis=-1)
    index, score = index.copy(), score.copy()
    index[rows] = np.take_along_axis(index[rows], order, axis=1)
    score[rows] = np.take_along_axis(score[rows], order, axis=1)
    return index, score
