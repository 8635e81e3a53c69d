"""What retrieval said of a user and an item: the sources, and its place in the towers' exact order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recjobs import columns
from recjobs.explain.finding import EXTRACT, SEARCH, Night, part_of, rows_of_user
from recjobs.ragged import matrix
from recjobs.retrieve.search.vectors import read_database


@dataclass(frozen=True)
class SourceWord:
    """One source on the item."""

    source: str
    proposed: bool
    """Whether it was among those that brought the item."""
    score: float
    rank: int
    """The item's place by this source's score among the user's candidates, from 1; equal scores share the better."""


@dataclass(frozen=True)
class Retrieval:
    """What retrieval said."""

    candidates: int
    """How many the user has."""
    rank: int | None
    """The item's place among them; None: it was not retrieved."""
    score: float | None
    lowest: float | None
    """The last candidate's score."""
    filled: bool
    """Nobody proposed it: it was taken from further down the towers' list to make the number full."""
    sources: tuple[SourceWord, ...]
    tower_rank: int | None
    """Its place by exact dot product among all items that were searched; None: the item was not searched."""
    searched: int
    tower_score: float | None


def retrieval_of(night: Night, user: str, item: int) -> Retrieval:
    """What retrieval said of `user` and item_index `item`."""
    search, part = night.manifests[SEARCH], part_of(night, user)
    row = pl.DataFrame(pl.from_arrow(rows_of_user(search.uri("candidates", part), user))).row(0, named=True)
    items = np.asarray(row[columns.ITEM_INDEX], np.int64)
    at = np.flatnonzero(items == item)
    place = int(at[0]) if len(at) else None
    scores = row[columns.SCORE]
    bits = 0 if place is None else row[columns.SOURCE][place]
    tower_rank, searched, tower_score = _in_tower_order(night, part, user, item)
    return Retrieval(
        candidates=len(items),
        rank=None if place is None else place + 1,
        score=None if place is None else float(scores[place]),
        lowest=float(scores[-1]) if scores else None,
        filled=bool(bits & columns.source_bit("fill")),
        sources=() if place is None else _words(row, place, bits),
        tower_rank=tower_rank,
        searched=searched,
        tower_score=tower_score,
    )


def _words(row: dict[str, list[float]], place: int, bits: int) -> tuple[SourceWord, ...]:
    on = [name for name in columns.SCORED_SOURCES if row.get(columns.source_score(name))]
    return tuple(_word(name, row[columns.source_score(name)], place, bits) for name in on)


def _word(name: str, scores: list[float], place: int, bits: int) -> SourceWord:
    better = int((np.asarray(scores) > scores[place]).sum())
    return SourceWord(name, bool(bits & columns.source_bit(name)), float(scores[place]), better + 1)


def _in_tower_order(night: Night, part: str, user: str, item: int) -> tuple[int | None, int, float | None]:
    """The item's place by exact dot product among the available items, their number, and the product."""
    search = night.manifests[SEARCH]
    own = rows_of_user(search.uri("user_vectors", part), user)
    database = read_database(search.uri("item_vectors.parquet"), night.manifests[EXTRACT].uri("items.parquet"))
    scores = database.vectors @ matrix(own.column(columns.VECTOR))[0]
    mine = np.flatnonzero(database.item_index == item)
    if not len(mine):
        return None, len(scores), None
    score = scores[mine[0]]
    return 1 + int((scores > score).sum()), len(scores), float(score)
