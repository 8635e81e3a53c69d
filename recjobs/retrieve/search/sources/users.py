"""What sources know of a shard's users: their (item, event type) pairs and their segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.errors import SettingsError
from recjobs.ragged import Ints, flat_lists, rows_of
from recjobs.retrieve.search.sources.config import SourcesConfig
from recjobs.retrieve.search.vectors import read_table

ALL = columns.GLOBAL_SEGMENT
DAY = 86_400
"""Seconds."""
_PAIRS = (columns.PAIR_ITEM, columns.PAIR_TYPE, columns.PAIR_COUNT, columns.PAIR_LAST)


@dataclass(frozen=True)
class Users:
    """Users with their pairs one after the other, a user's latest first; `segment` is a name each."""

    lengths: Ints
    item: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    count: npt.NDArray[np.int32]
    last: npt.NDArray[np.int64]
    segment: pl.Series

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self) -> npt.NDArray[np.int32]:
        """The user of each pair."""
        return rows_of(self.lengths)

    def part(self, start: int, stop: int) -> Users:
        """The users from `start` until before `stop`."""
        pairs = slice(int(self.lengths[:start].sum()), int(self.lengths[:stop].sum()))
        return Users(
            self.lengths[start:stop],
            self.item[pairs],
            self.kind[pairs],
            self.count[pairs],
            self.last[pairs],
            self.segment[start:stop],
        )


def read_users(uri: str, segment_by: Sequence[str]) -> Users:
    """The users of the states at `uri`, in their order."""
    table = read_table(uri, [*_PAIRS, *segment_by])
    lengths = flat_lists(table[columns.PAIR_ITEM])[1]
    item, kind, count, last = (flat_lists(table[name])[0] for name in _PAIRS)
    frame = pl.DataFrame(pl.from_arrow(table.select(list(segment_by)))) if segment_by else pl.DataFrame()
    return Users(lengths, item, kind, count, last, segment_names(frame, segment_by, len(lengths)))


def check_segment_columns(uri: str, settings: SourcesConfig) -> None:
    """Raises SettingsError where segments are wanted by a column that the states at `uri` do not have."""
    if "segment" not in settings.quotas:
        return
    with storage.reading(uri) as stream:
        known = pq.read_schema(stream).names
    if missing := [name for name in settings.segment.by if name not in known]:
        raise SettingsError(
            f"retrieve.search.sources.segment.by: users have no column {missing[0]!r}. Declare it in "
            f"users.categorical, or take one of {sorted(set(known) & {'country', 'region', 'language', 'age_band'})}.",
            column=missing[0],
        )


def segment_names(users: pl.DataFrame, segment_by: Sequence[str], rows: int) -> pl.Series:
    """Each user's segment, `column=value` pairs joined by `&`; `all` for a user without one of the values."""
    if not segment_by:
        return pl.repeat(ALL, rows, dtype=pl.String, eager=True)
    pairs = [pl.concat_str(pl.lit(f"{name}="), pl.col(name).cast(pl.String)) for name in segment_by]
    return users.select(pl.concat_str(pairs, separator="&").fill_null(ALL).alias(columns.SEGMENT)).to_series()
