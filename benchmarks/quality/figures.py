"""The measures of lists: recall and NDCG over all items and over new ones, coverage, Gini."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.quality.cases import Measure
from benchmarks.quality.problem import Ints, Problem
from benchmarks.quality.ranking import Lists
from recjobs.evaluate.judging import NEW, Ranked
from recjobs.evaluate.measures import columns_of, measure
from recjobs.ragged import places_in_runs

Figures = dict[Measure, float]


def figures(lists: Lists, problem: Problem, at: Sequence[int], *, new_items: bool) -> Figures:
    """The means over users with an outcome, and the spread of the lists over the catalogue.

    With `new_items` the same over items new to the user as well: what the user had is taken out of list and truth,
    and users with nothing left in the truth do not count.
    """
    stride, truth = problem.items.size + 1, problem.truth
    ranked = ranked_lists(lists)
    found = _means(ranked, truth.row, truth.item, stride, at, "")
    if new_items:
        known = _keys(problem)
        fresh = ~np.isin(truth.row * stride + truth.item, known)
        found |= _means(ranked.without(known, stride), truth.row[fresh], truth.item[fresh], stride, at, NEW)
    for k in at:
        shown = np.bincount(lists[:, :k].ravel(), minlength=stride)
        found["coverage", k] = float((shown > 0)[problem.items.eligible].mean())
        found["gini", k] = gini(shown[problem.items.eligible])
    return found


def ranked_lists(lists: Lists) -> Ranked:
    """`lists` as one table, without the empty places."""
    rows, places = np.nonzero(lists)
    return Ranked(rows.astype(np.int32), lists[rows, places], places_in_runs(rows))


def gini(counts: npt.NDArray[np.integer]) -> float:
    """The Gini coefficient of how often each item is shown: 0 all alike, near 1 one item alone; 0 if none is."""
    ordered, size = np.sort(counts).astype(np.float64), len(counts)
    total = ordered.sum()
    if total == 0:
        return 0.0
    return float(2 * (np.arange(1, size + 1) * ordered).sum() / (size * total) - (size + 1) / size)


def recalls(ranked: Ranked, rows: Ints, items: Ints, stride: int, k: int) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Who has an outcome, as ascending rows, and recall at `k` of each."""
    judged, measured = _measured(ranked, rows, items, stride, (k,))
    return judged, measured[:, columns_of((k,)).index(("recall", k))]


def _measured(
    ranked: Ranked, rows: Ints, items: Ints, stride: int, at: Sequence[int]
) -> tuple[Ints, npt.NDArray[np.float64]]:
    judged, sizes = np.unique(rows, return_counts=True)
    wanted = (rows * stride + items)[items > 0]
    hit = np.isin(ranked.rows.astype(np.int64) * stride + ranked.items, wanted)
    return judged, measure(np.searchsorted(judged, ranked.rows[hit]), ranked.ranks[hit], sizes, at)


def _means(ranked: Ranked, rows: Ints, items: Ints, stride: int, at: Sequence[int], suffix: str) -> Figures:
    judged, measured = _measured(ranked, rows, items, stride, at)
    means = measured.sum(axis=0) / max(len(judged), 1)
    named = zip(columns_of(at), means, strict=True)
    found = {(name + suffix, k): float(mean) for (name, k), mean in named}
    return found | {(f"users{suffix}", k): float(len(judged)) for k in at}


def _keys(problem: Problem) -> npt.NDArray[np.int64]:
    rows, items = problem.known.nonzero()
    keys: Ints = rows.astype(np.int64) * problem.shape[1] + items
    return keys
