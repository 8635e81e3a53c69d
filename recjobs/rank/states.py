"""User states, item states and candidates as arrays: lists as values and offsets, never as Python lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.errors import ContractError
from recjobs.manifest import Manifest
from recjobs.ragged import flat_lists

_TOWERS = "towers"


@dataclass(frozen=True)
class Ragged:
    """A list column: row r holds `values[offsets[r]:offsets[r + 1]]`; offsets int64[n + 1] from 0."""

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length of each row's list, int64[n]."""
        return np.diff(self.offsets)

    def rows(self) -> npt.NDArray[np.int64]:
        """The row of each value, int64[len(values)]."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)

    def values_of(self, rows: slice) -> slice:
        """Where the values of consecutive `rows` are."""
        start, stop, _ = rows.indices(len(self.offsets) - 1)
        return slice(int(self.offsets[start]), int(self.offsets[stop]))

    def part(self, rows: slice) -> Ragged:
        """The lists of consecutive `rows`; values are not copied."""
        values = self.values_of(rows)
        offsets = self.offsets[rows.start : rows.stop + 1] - values.start
        return Ragged(self.values[values], offsets)


@dataclass(frozen=True)
class Candidates:
    """One shard's candidates, users as in the user states; best first within a user."""

    items: Ragged
    scores: npt.NDArray[np.float32]
    sources: npt.NDArray[np.int16]
    by_source: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """The score by every source of `columns.SCORED_SOURCES`; 0 by one that is off."""

    def rank(self) -> npt.NDArray[np.int32]:
        """Retrieval rank of each candidate within its user, from 1."""
        starts = np.repeat(self.items.offsets[:-1], self.items.lengths)
        ranks: npt.NDArray[np.int32] = (np.arange(len(self.items.values)) - starts + 1).astype(np.int32)
        return ranks

    def part(self, rows: slice) -> Candidates:
        """The candidates of consecutive users, by their `rows`."""
        pairs = self.items.values_of(rows)
        return Candidates(
            self.items.part(rows),
            self.scores[pairs],
            self.sources[pairs],
            {name: scores[pairs] for name, scores in self.by_source.items()},
        )


@dataclass(frozen=True)
class UserShard:
    """One shard's user states. `scalars` holds the columns that are no lists."""

    ids: pa.Array
    scalars: pl.DataFrame
    history_item: Ragged
    history_time: Ragged
    pair_item: Ragged
    pair_type: npt.NDArray[np.int8]
    pair_count: npt.NDArray[np.int32]
    pair_last: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, rows: slice) -> UserShard:
        """The states of consecutive users, by their `rows`."""
        pairs = self.pair_item.values_of(rows)
        return UserShard(
            ids=self.ids[rows],
            scalars=self.scalars[rows],
            history_item=self.history_item.part(rows),
            history_time=self.history_time.part(rows),
            pair_item=self.pair_item.part(rows),
            pair_type=self.pair_type[pairs],
            pair_count=self.pair_count[pairs],
            pair_last=self.pair_last[pairs],
        )


def end_of(day: date) -> int:
    """The Unix second at which the UTC day `day` is over."""
    return int(datetime.combine(day + timedelta(days=1), time(), UTC).timestamp())


def read_table(uri: str, names: list[str] | None = None) -> pa.Table:
    """The Parquet file at `uri`; only the columns `names` if given."""
    with storage.reading(uri) as stream:
        return pq.read_table(stream, columns=names)


def ragged(column: pa.ChunkedArray) -> Ragged:
    """A list column as values and offsets; a null list is an empty one."""
    values, lengths = flat_lists(column)
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Ragged(values, offsets)


def read_users(uri: str) -> UserShard:
    """The user states at `uri`, sorted by user as stored."""
    table = read_table(uri)
    lists = (columns.HISTORY_ITEM, columns.HISTORY_TYPE, columns.HISTORY_TIME)
    pairs = (columns.PAIR_ITEM, columns.PAIR_TYPE, columns.PAIR_COUNT, columns.PAIR_LAST)
    scalars = pl.from_arrow(table.drop_columns([*lists, *pairs]))
    assert isinstance(scalars, pl.DataFrame)
    return UserShard(
        ids=table[columns.USER].cast(pa.string()).combine_chunks(),
        scalars=scalars,
        history_item=ragged(table[columns.HISTORY_ITEM]),
        history_time=ragged(table[columns.HISTORY_TIME]),
        pair_item=ragged(table[columns.PAIR_ITEM]),
        pair_type=ragged(table[columns.PAIR_TYPE]).values,
        pair_count=ragged(table[columns.PAIR_COUNT]).values,
        pair_last=ragged(table[columns.PAIR_LAST]).values,
    )


def read_candidates(uri: str, users: UserShard) -> Candidates:
    """The candidates at `uri`.

    Raises:
        ContractError: they are not of the same users in the same order.
    """
    table = read_table(uri)
    if not table[columns.USER].cast(pa.string()).combine_chunks().equals(users.ids):
        raise ContractError(
            f"{uri}: its {table.num_rows} users are not the {len(users)} users of the user states beside it. "
            "Run retrieve/search again on this extract.",
            uri=uri,
        )
    items = ragged(table[columns.ITEM_INDEX])
    scores = ragged(table[columns.SCORE]).values.astype(np.float32, copy=False)
    if columns.source_score(_TOWERS) not in table.column_names:
        # Made by an earlier version, which had the towers alone.
        sources = np.full(len(scores), columns.source_bit(_TOWERS), np.int16)
        return Candidates(items, scores, sources, _by_source({_TOWERS: scores}, len(scores)))
    sources = ragged(table[columns.SOURCE]).values.astype(np.int16, copy=False)
    # An earlier version has no column for a source that it did not know.
    known = [name for name in columns.SCORED_SOURCES if columns.source_score(name) in table.column_names]
    stored = {name: ragged(table[columns.source_score(name)]).values for name in known}
    return Candidates(items, scores, sources, _by_source(stored, len(scores)))


def _by_source(stored: Mapping[str, npt.NDArray[Any]], pairs: int) -> dict[str, npt.NDArray[np.float32]]:
    """Every source's scores, zeros where it is off; a source that is on has one for each pair."""
    off = np.zeros(pairs, np.float32)
    found = {name: stored.get(name, off) for name in columns.SCORED_SOURCES}
    return {name: off if len(values) != pairs else values.astype(np.float32) for name, values in found.items()}


def read_items(extract: Manifest) -> pl.DataFrame:
    """The item states of `extract`, row r is item_index r + 1.

    Raises:
        ContractError: item_index is not 1, 2, … in order.
    """
    uri = extract.uri("items.parquet")
    frame = pl.from_arrow(read_table(uri))
    assert isinstance(frame, pl.DataFrame)
    if not np.array_equal(frame[columns.ITEM_INDEX].to_numpy(), np.arange(1, frame.height + 1)):
        raise ContractError(f"{uri}: item_index must be 1 to {frame.height} in order. Run extract again.", uri=uri)
    return frame
