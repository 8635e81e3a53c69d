"""A block of users: who they are to the rules, and what they did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from recjobs import columns
from recjobs.compose.config import ComposeConfig
from recjobs.compose.popularity import Popularity
from recjobs.compose.segments import own_segments
from recjobs.ragged import flat_lists, rows_of

ROW = "row"
PLACE = "place"
TYPE = "type"
LAST = "last"

NEEDED = [
    columns.USER,
    columns.N_EVENTS,
    columns.HISTORY_ITEM,
    columns.HISTORY_TYPE,
    columns.PAIR_ITEM,
    columns.PAIR_TYPE,
    columns.PAIR_LAST,
]
"""Columns of the user states that lists are made from, besides those of `segment_by`."""


@dataclass(frozen=True)
class Audience:
    """A block of users in the order of their shard; a user is known by the row here."""

    user_id: pa.Array
    cold: npt.NDArray[np.bool_]
    """Users with fewer than `cold_threshold` events."""
    events: npt.NDArray[np.int64]
    """How many events each user has."""
    segments: npt.NDArray[np.int32]
    """[users, levels]: each user's segments with support, as positions in `Popularity.segments`, most specific first.

    Behind them 0, which is `all`.
    """
    pairs: pl.DataFrame
    """`row`, `item_index`, `type`, `last`: what each user ever did, once for each event type; last in Unix seconds."""
    history: pl.DataFrame
    """`row`, `item_index`, `type`, `place`: the latest events; place 0 is a user's last."""

    @property
    def size(self) -> int:
        """Users in the block."""
        return len(self.user_id)

    @property
    def segment(self) -> npt.NDArray[np.int32]:
        """Each user's most specific segment with support."""
        own: npt.NDArray[np.int32] = self.segments[:, 0]
        return own

    def pairs_of(self, types: set[int]) -> pl.DataFrame:
        """The (`row`, `item_index`) that had an event of `types`, each once."""
        return self.pairs.filter(pl.col(TYPE).is_in(sorted(types))).select(ROW, columns.ITEM_INDEX).unique()


def audience_of(users: pa.Table, config: ComposeConfig, popularity: Popularity) -> Audience:
    """The users of `users`, a slice of `extract`'s user states."""
    frame = pl.DataFrame(pl.from_arrow(users.select([columns.USER, columns.N_EVENTS, *config.segment_by])))
    events = frame[columns.N_EVENTS].fill_null(0).to_numpy().astype(np.int64)
    return Audience(
        user_id=users.column(columns.USER).combine_chunks(),
        cold=events < config.cold_threshold,
        events=events,
        segments=own_segments(frame, config.segment_by, popularity.segments),
        pairs=_pairs(users),
        history=_latest_first(_long(users, columns.HISTORY_ITEM, columns.HISTORY_TYPE)),
    )


def types_of(names: list[str], codes: Mapping[str, int]) -> set[int]:
    """The codes of the event types called `names`."""
    return {codes[name] for name in names}


def _pairs(users: pa.Table) -> pl.DataFrame:
    last, _ = flat_lists(users.column(columns.PAIR_LAST))
    return _long(users, columns.PAIR_ITEM, columns.PAIR_TYPE).with_columns(pl.Series(LAST, last.astype(np.int64)))


def _long(users: pa.Table, items: str, types: str) -> pl.DataFrame:
    values, lengths = flat_lists(users.column(items))
    kinds, _ = flat_lists(users.column(types))
    return pl.DataFrame(
        {ROW: rows_of(lengths), columns.ITEM_INDEX: values.astype(np.int32), TYPE: kinds.astype(np.int8)}
    )


def _latest_first(history: pl.DataFrame) -> pl.DataFrame:
    backwards = history.reverse().with_columns(pl.int_range(pl.len()).over(ROW).alias(PLACE))
    return backwards.sort(ROW, PLACE)
