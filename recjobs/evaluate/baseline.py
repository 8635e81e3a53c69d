"""The list everybody would get without models: what is popular, under the surface's own no-repeat rule."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns
from recjobs.ragged import flat_lists, places, places_in_runs, rows_of

POPULARITY = "popularity"


def pair_keys(users: pl.DataFrame, types: frozenset[int], stride: int) -> npt.NDArray[np.int64]:
    """`row * stride + item_index` of what each row of `users` had an event of `types` with, ascending, distinct."""
    table = users.select(columns.PAIR_ITEM, columns.PAIR_TYPE).to_arrow()
    items, lengths = flat_lists(table.column(columns.PAIR_ITEM))
    kinds, _ = flat_lists(table.column(columns.PAIR_TYPE))
    wanted = np.isin(kinds, sorted(types))
    return np.unique(rows_of(lengths)[wanted].astype(np.int64) * stride + items[wanted])


def popular_lists(
    order: npt.NDArray[np.int32], users: int, length: int, barred: npt.NDArray[np.int64], stride: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """For each user the first `length` items of `order` that are not `barred` (keys as of `pair_keys`).

    Where too few are left, barred ones follow, as they do in the lists that are judged. Returns the rows and items,
    best first within a row.
    """
    within = barred[np.isin(barred % stride, order)]
    depth = np.minimum(len(order), length + np.bincount(within // stride, minlength=users))
    rows, items = rows_of(depth), order[places(depth)]
    repeated = pl.Series(rows.astype(np.int64) * stride + items).is_in(pl.Series(within).implode()).to_numpy()
    last = np.lexsort((places(depth), repeated, rows))
    rows, items = rows[last], items[last]
    kept = places_in_runs(rows) < length
    return rows[kept], items[kept]
