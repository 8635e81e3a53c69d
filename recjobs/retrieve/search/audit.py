"""Recall of a searcher against exact search, and the choice of the least effort that is good enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs.retrieve.search.index import Effort, Searcher, Vectors, exact_top

_RELATIVE_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Trial:
    """One effort and its recall at K; `effort` is None for exact search."""

    effort: Effort | None
    recall: float


@dataclass(frozen=True)
class Audit:
    """What was tried on how many users, and what was chosen: the last trial."""

    users: int
    k: int
    floor: float
    trials: tuple[Trial, ...]
    fell_back: bool

    @property
    def recall(self) -> float:
        """The recall of what is used."""
        return self.trials[-1].recall

    @property
    def effort(self) -> Effort | None:
        """The effort that is used; None for exact search."""
        return self.trials[-1].effort

    def to_json(self) -> dict[str, Any]:
        """As written to `audit.json`."""
        return asdict(self) | {"recall": self.recall, "method": "scann" if self.effort else "exact"}


def recall_of(searcher: Searcher, queries: Vectors) -> float:
    """Mean share of hits whose score reaches that of the exact K-th hit; 1 where there are no queries.

    By score, so that an equally good item in place of another is no miss.
    """
    if not len(queries):
        return 1.0
    database = searcher.database
    found = searcher.search(queries)
    position = np.searchsorted(database.item_index, found.item_index)
    scores = np.einsum("bkd,bd->bk", database.vectors[position], queries)
    last = exact_top(queries, database.vectors, searcher.k)[1][:, -1:]
    return float((scores >= last - _RELATIVE_TOLERANCE * np.maximum(1, np.abs(last))).mean())


def choose(candidates: Sequence[Searcher], exact: Searcher, queries: Vectors, floor: float) -> tuple[Searcher, Audit]:
    """The first of `candidates` whose recall on `queries` reaches `floor`, else `exact`."""
    trials: list[Trial] = []
    for searcher in candidates:
        trials.append(Trial(searcher.effort, recall_of(searcher, queries)))
        if trials[-1].recall >= floor:
            return searcher, Audit(len(queries), searcher.k, floor, tuple(trials), False)
    trials.append(Trial(None, recall_of(exact, queries)))
    return exact, Audit(len(queries), exact.k, floor, tuple(trials), bool(candidates))


def sample_rows(rows: int, wanted: int, seed: Sequence[int]) -> npt.NDArray[np.int64]:
    """At most `wanted` row numbers of `rows`, ascending, the same for the same seed."""
    if rows <= wanted:
        return np.arange(rows)
    return np.sort(np.random.default_rng(list(seed)).choice(rows, wanted, replace=False))
