"""Cold items compete through their content: they inherit a share of what the user thinks of their neighbours.

A young item (`cold_item_days`) with n of fewer than m events (`cold_item_threshold`) is hardly known to the models: its
score is drawn towards that of its nearest warm items by vector, which for an item without a past is its content. For a
user it inherits the mean of the best third of its neighbours' scores, one that is no candidate counting as the user's
lowest, and

    score = n / m × own + (1 - n / m) × inherited,

so that nothing jumps when an item gets known. It need not be a candidate itself: its own score is then the user's
lowest. So a new item can enter the lists of all who like what it resembles. An older item with few events had its
chance and is left alone: on a shop whose catalogue is full of those, lifting them cost a tenth of NDCG on items new to
the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.audience import ROW
from recjobs.compose.catalogue import Catalogue
from recjobs.compose.config import ComposeConfig
from recjobs.compose.reasons import Neighbours, load_neighbours
from recjobs.compose.steps import LISTS, ORIGIN, Origin, Scene, Stepped
from recjobs.ragged import Ints, places, places_in_runs, rows_of

MOST_HEIRS = 50
"""Cold items that one warm item passes its score to: the work for a user stays bounded in a catalogue of new items."""
_ROWS_AT_ONCE = 250_000
"""Candidates whose heirs are worked out together."""

_HEIR, _INHERITED, _LOWEST, _WEIGHT = "heir", "inherited", "lowest", "weight"


@dataclass(frozen=True)
class Passes:
    """Which warm item passes its score to which cold ones."""

    heirs: npt.NDArray[np.int32]
    """The heirs of each item, cold ones that may be shown; one item's after the other's."""
    starts: Ints
    """[I + 2]: where each item's begin in `heirs`."""
    weight: npt.NDArray[np.float32]
    """[I + 1]: 1 - n / m of the heirs, 0 of all other items."""
    best: int
    """How many of an heir's neighbours it inherits from, the best ones."""

    def heirs_of(self, items: npt.NDArray[np.int32]) -> tuple[Ints, npt.NDArray[np.int32]]:
        """Every heir of `items`, and the position in `items` of the one it inherits from."""
        known = np.where((items > 0) & (items < len(self.weight)), items, 0)
        counts = np.diff(self.starts)[known]
        at = np.repeat(np.arange(len(items)), counts)
        return at, self.heirs[np.repeat(self.starts[known], counts) + places(counts)]


def load_passes(similar_uri: str, catalogue: Catalogue, config: ComposeConfig) -> Passes | None:
    """Who inherits from whom, by `retrieve/search`'s similar items; None where settings want none."""
    if config.cold_item_threshold == 0:
        return None
    near = load_neighbours(similar_uri, catalogue.size, catalogue.size)
    young = catalogue.age <= config.cold_item_days
    return passes_of(near, catalogue, young, config.cold_item_threshold, config.cold_item_neighbours)


def passes_of(
    near: Neighbours, catalogue: Catalogue, young: npt.NDArray[np.bool_], threshold: int, neighbours: int
) -> Passes:
    """`load_passes` of neighbours in memory: of each cold item the nearest `neighbours` that are warm count."""
    cold = catalogue.eligible & young & (catalogue.events < threshold)
    heir, giver = rows_of(near.lengths), near.items
    known = catalogue.known(giver) & cold[heir]
    known[known] = catalogue.events[giver[known]] >= threshold
    heir, giver = heir[known], giver[known]
    place = places_in_runs(heir)
    first = place < neighbours
    pairs = pl.DataFrame({ITEM_INDEX: giver[first], _HEIR: heir[first], "place": place[first]})
    bounded = pairs.sort(ITEM_INDEX, "place", _HEIR).filter(pl.int_range(pl.len()).over(ITEM_INDEX) < MOST_HEIRS)
    weight = np.zeros(catalogue.size + 1, np.float32)
    owners = np.unique(bounded[_HEIR].to_numpy())
    weight[owners] = 1 - catalogue.events[owners] / threshold
    counts = np.bincount(bounded[ITEM_INDEX].to_numpy(), minlength=catalogue.size + 1)
    starts = np.r_[0, np.cumsum(counts)].astype(np.int64)
    return Passes(bounded[_HEIR].to_numpy(), starts, weight, max(1, neighbours // 3))


@dataclass(frozen=True)
class ColdItems:
    """Lets items with few events compete through their content: they inherit from what is like them."""

    passes: Passes
    name: str = "cold_items"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:  # noqa: ARG002
        """The lists with cold items' scores drawn to what they inherit, and those that were no candidates behind."""
        if not len(self.passes.heirs) or lists.is_empty():
            return Stepped(lists)
        lowest = lists.group_by(ROW).agg(pl.col(SCORE).min().alias(_LOWEST))
        inherited = self._inherited(lists, lowest)
        drawn = (
            lists.with_columns(self._weights(lists))
            .join(lowest, on=ROW, how="left", maintain_order="left")
            .join(inherited, on=[ROW, ITEM_INDEX], how="left", maintain_order="left")
            .with_columns(_drawn(pl.col(SCORE)).alias(SCORE))
            .select(LISTS.names())
        )
        added = self._newcomers(lists, lowest, inherited)
        after = pl.concat([drawn, added]).sort(ROW, maintain_order=True) if added.height else drawn
        return Stepped(after, added=added.height)

    def _inherited(self, lists: pl.DataFrame, lowest: pl.DataFrame) -> pl.DataFrame:
        """`row`, `item_index`, `inherited`: what each user's heirs inherit above the user's lowest score."""
        rows = lists[ROW].to_numpy()
        cuts = [0, *_cuts(rows, _ROWS_AT_ONCE), len(rows)]
        parts = [self._inherited_in(lists[start:stop], lowest) for start, stop in pairwise(cuts)]
        return pl.concat(parts)

    def _inherited_in(self, lists: pl.DataFrame, lowest: pl.DataFrame) -> pl.DataFrame:
        known = lists.unique([ROW, ITEM_INDEX], keep="first", maintain_order=True).join(
            lowest, on=ROW, how="left", maintain_order="left"
        )
        gain = known[SCORE].to_numpy().astype(np.float64) - known[_LOWEST].to_numpy()
        at, heir = self.passes.heirs_of(known[ITEM_INDEX].to_numpy())
        row, gain = known[ROW].to_numpy()[at], gain[at]
        order = np.argsort(-gain, kind="stable")
        width = len(self.passes.weight)
        key = row[order].astype(np.int64) * width + heir[order]
        grouped = np.argsort(key, kind="stable")
        key, gain = key[grouped], gain[order][grouped]
        best = places_in_runs(key) < self.passes.best
        distinct, of = np.unique(key[best], return_inverse=True)
        total = np.bincount(of, gain[best], minlength=len(distinct)) / self.passes.best
        return pl.DataFrame(
            {
                ROW: (distinct // width).astype(np.int32),
                ITEM_INDEX: (distinct % width).astype(np.int32),
                _INHERITED: total,
            }
        )

    def _newcomers(self, lists: pl.DataFrame, lowest: pl.DataFrame, inherited: pl.DataFrame) -> pl.DataFrame:
        """Heirs that were no candidates and end above the user's lowest score, by item index."""
        found = (
            inherited.filter(pl.col(_INHERITED) > 0)
            .join(lists.select(ROW, ITEM_INDEX), on=[ROW, ITEM_INDEX], how="anti")
            .join(lowest, on=ROW)
            .sort(ROW, ITEM_INDEX)
        )
        return found.with_columns(self._weights(found)).select(
            ROW,
            ITEM_INDEX,
            _drawn(pl.col(_LOWEST)).alias(SCORE),
            pl.lit(int(Origin.MODEL), pl.Int8).alias(ORIGIN),
        )

    def _weights(self, lists: pl.DataFrame) -> pl.Series:
        """How much of its score each row's item inherits; an index that is no item's, nothing."""
        items = lists[ITEM_INDEX].to_numpy()
        known = (items > 0) & (items < len(self.passes.weight))
        return pl.Series(_WEIGHT, self.passes.weight[np.where(known, items, 0)])


def _drawn(own: pl.Expr) -> pl.Expr:
    """`own` drawn to what is inherited by the item's weight: not at all where that is 0."""
    inherited = pl.col(_LOWEST).cast(pl.Float64) + pl.col(_INHERITED).fill_null(0.0)
    return (own + pl.col(_WEIGHT).cast(pl.Float64) * (inherited - own)).cast(pl.Float32)


def _cuts(rows: npt.NDArray[np.int32], most: int) -> list[int]:
    """Where to cut the rows into pieces of about `most`, never within a user."""
    starts = np.flatnonzero(np.r_[False, rows[1:] != rows[:-1]])
    wanted = np.arange(most, len(rows), most)
    return sorted(set(starts[np.searchsorted(starts, wanted).clip(0, len(starts) - 1)].tolist())) if len(starts) else []
