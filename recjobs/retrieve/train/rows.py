"""Which row of last time's table each row of tonight's had, by id: indexes are dealt anew every night.

Row 0 of every table is the unknown id and stays what it is. An id that is new has no row to take
over; the row of an id that is gone is taken over by nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs.storage import StoredFile

Rows = npt.NDArray[np.int64]
NEW = -1
"""Stands for the row of an id that had none."""
_ID, _INDEX, _BEFORE = "id", "index", "before"


@dataclass(frozen=True)
class RowMap:
    """`source` int64[rows of tonight's table]: the row each had, `NEW` for none; of `before` rows last time."""

    source: Rows
    before: int

    @property
    def kept(self) -> int:
        """Ids that keep their row, the unknown one not counted."""
        return int((self.source[1:] != NEW).sum())

    @property
    def new(self) -> int:
        """Ids without a row last time."""
        return int((self.source[1:] == NEW).sum())

    @property
    def retired(self) -> int:
        """Ids of last time that have no row any more, and rows that belonged to nobody."""
        return self.before - 1 - self.kept

    @property
    def new_rows(self) -> Rows:
        """The rows of tonight's table that are new, ascending."""
        return np.flatnonzero(self.source == NEW)

    @property
    def forward(self) -> Rows:
        """int64[before]: by last time's row, tonight's; 0 for a retired one."""
        rows = np.zeros(self.before, np.int64)
        known = np.flatnonzero(self.source != NEW)
        rows[self.source[known]] = known
        return rows

    def carried(self, old: npt.NDArray[Any], fresh: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Tonight's table: each kept id's old row, bit for bit, and `fresh`'s rows for new ids.

        `old` [before, …] and `fresh` [rows, …] have rows of one shape and dtype.
        """
        known = (self.source != NEW).reshape(-1, *[1] * (fresh.ndim - 1))
        return np.where(known, old[np.maximum(self.source, 0)], fresh)


def row_map(pairs: Iterable[tuple[pl.DataFrame, pl.DataFrame]], *, before: int, rows: int) -> RowMap:
    """The map from pairs of frames (last time's, tonight's) of columns `id` and `index`.

    An id stands in one pair at most, and once in each of its frames. Indexes outside 1…`before` - 1
    and 1…`rows` - 1 have no row in the tables and are passed over.
    """
    source = np.full(rows, NEW, np.int64)
    source[0] = 0
    for old, new in pairs:
        joined = _with_row(new, rows).join(_with_row(old, before).rename({_INDEX: _BEFORE}), on=_ID)
        source[joined[_INDEX].to_numpy()] = joined[_BEFORE].to_numpy()
    return RowMap(source, before)


def together(*nights: Sequence[Sequence[StoredFile]]) -> Iterator[list[list[str]]]:
    """Of outputs by shard (`Manifest.shards`), the files of each that hold the same users.

    Shard by shard, or all at once where their numbers differ.
    """
    found = [[[part.uri for part in shard] for shard in shards] for shards in nights]
    if len({len(shards) for shards in found}) > 1:
        yield [[uri for shard in shards for uri in shard] for shards in found]
    else:
        yield from (list(same) for same in zip(*found, strict=True))


def identified(frame: pl.DataFrame, identity: str, index: str) -> pl.DataFrame:
    """`frame`'s ids and indexes under the names that `row_map` reads."""
    return frame.select(pl.col(identity).alias(_ID), pl.col(index).cast(pl.Int64).alias(_INDEX))


def _with_row(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    return frame.filter((pl.col(_INDEX) > 0) & (pl.col(_INDEX) < rows))
