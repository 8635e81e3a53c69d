"""Our own lists, from the artefacts of the real stages."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq
from scipy import sparse

from benchmarks.quality.problem import Ints, Problem
from benchmarks.quality.ranking import Lists, Scorer, Scores, best_lists
from recjobs import columns as c
from recjobs.manifest import Manifest
from recjobs.ragged import flat_lists, matrix, places_in_runs, rows_of
from recjobs.retrieve.search.vectors import read_table

ITEM_VECTORS, USER_VECTORS, CANDIDATES = "item_vectors.parquet", "user_vectors", "candidates"
TOWERS, RETRIEVAL, FINISHED = "recjobs towers", "recjobs retrieval", "recjobs lists"
SCORE_TOWERS = "score_towers"


def tower_lists(search: Manifest, problem: Problem, barred: sparse.csr_matrix | None, length: int) -> Lists:
    """The towers alone: the items with the largest dot product, searched exactly among all that are available."""
    return best_lists(tower_scorer(search, problem), problem.shape[0], problem.items.eligible, barred, length)


def tower_scorer(search: Manifest, problem: Problem) -> Scorer:
    """Dot products of the towers' vectors as `retrieve/search` wrote them."""
    items = item_matrix(search, problem.shape[1])
    parts = [read_table(part.uri, [c.USER, c.VECTOR]) for part in search.parts(USER_VECTORS)]
    users = np.concatenate([matrix(part[c.VECTOR]) for part in parts if part.num_rows])
    _check_users(problem, pl.concat([pl.Series(c.USER, part[c.USER].combine_chunks()) for part in parts]))

    def scores(rows: slice) -> Scores:
        return users[rows] @ items.T

    return scores


def item_matrix(search: Manifest, width: int) -> Scores:
    """float32[I + 1, D]: the item vectors by index; row 0 is zero."""
    table = read_table(search.uri(ITEM_VECTORS), [c.ITEM_INDEX, c.VECTOR])
    vectors = matrix(table[c.VECTOR])
    by_index = np.zeros((width, vectors.shape[1]), np.float32)
    by_index[table[c.ITEM_INDEX].to_numpy()] = vectors
    return by_index


def candidate_lists(
    search: Manifest, problem: Problem, barred: sparse.csr_matrix | None, length: int, by: str | None = None
) -> Lists:
    """The candidates in the order they are written in or, with `by`, by that column (`score` where it is not there)."""
    tables = [pq.read_table(part.uri) for part in search.parts(CANDIDATES)]
    _check_users(problem, pl.concat([pl.Series(c.USER, table[c.USER].combine_chunks()) for table in tables]))
    parts = [flat_candidates(table, by) for table in tables]
    first = np.cumsum([0, *(table.num_rows for table in tables)])
    rows = np.concatenate([part[0] + start for part, start in zip(parts, first, strict=False)])
    return packed(rows, np.concatenate([part[1] for part in parts]), problem.shape, barred, length)


def flat_candidates(table: object, by: str | None) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Row and item of each candidate, best first within a row."""
    items, lengths = flat_lists(table[c.ITEM_INDEX])  # type: ignore[index]
    rows = rows_of(lengths).astype(np.int64)
    if by is None:
        return rows, items
    column = by if by in table.column_names else c.SCORE  # type: ignore[attr-defined]
    scores, _ = flat_lists(table[column])  # type: ignore[index]
    order = np.lexsort((items, -scores, rows))
    return rows[order], items[order]


def finished_lists(compose: Manifest, problem: Problem, surface: str, length: int) -> Lists:
    """The lists that would be published on `surface`, with all of its rules applied."""
    frames = [pl.read_parquet(part.uri, columns=[c.USER, c.ITEM]) for part in compose.parts("lists", surface)]
    lists = pl.concat(frames)
    _check_users(problem, lists[c.USER])
    rows = rows_of(lists[c.ITEM].list.len().to_numpy().astype(np.int64)).astype(np.int64)
    items = problem.items.indexes(lists[c.ITEM].explode().drop_nulls().cast(pl.String))
    return packed(rows, items, problem.shape, None, length)


def packed(
    rows: Ints,
    items: npt.NDArray[np.int32],
    shape: tuple[int, int],
    barred: sparse.csr_matrix | None,
    length: int,
) -> Lists:
    """Items in the order of their lists, without those `barred` for the user; what follows moves up."""
    if barred is not None:
        user, item = barred.nonzero()
        kept = ~np.isin(rows * shape[1] + items, user.astype(np.int64) * shape[1] + item)
        rows, items = rows[kept], items[kept]
    place = places_in_runs(rows)
    lists = np.zeros((shape[0], length), np.int32)
    within = place < length
    lists[rows[within], place[within]] = items[within]
    return lists


def _check_users(problem: Problem, users: pl.Series) -> None:
    if not users.cast(pl.String).equals(problem.users):
        raise ValueError(f"the artefacts' users are not those of extract {problem.name}, in their order")
