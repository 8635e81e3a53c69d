"""The step of maximal marginal relevance: diversity of a list's first places by item vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.arranging import count_displaced, reordered
from recjobs.compose.config import MmrConfig
from recjobs.compose.grids import Grid, grids
from recjobs.compose.steps import Scene, Stepped
from recjobs.ragged import Ints

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Mmr:
    """Gives each of the first places to the item with the largest λ · relevance - (1 - λ) · likeness.

    Carbonell and Goldstein 1998. Relevance is the score, from 0 to 1 among the user's `depth` best; likeness is the
    largest cosine with an item that stands above. The first place stays, ties go to the better item; an item
    without a vector is like none.
    """

    vectors: Floats
    """[I + 1, D], of length 1, or 0 where there is none."""
    config: MmrConfig
    name: str = "mmr"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The lists with their first places chosen anew."""
        items, scores = lists[ITEM_INDEX].to_numpy(), lists[SCORE].to_numpy()
        lengths, order = scene.lengths(lists), np.arange(lists.height)
        for grid in grids(lengths, np.flatnonzero(lengths), self.config.depth):
            grid.arrange(order, self._ranked(items[grid.at], scores[grid.at], grid))
        return Stepped(reordered(lists, order), moved=count_displaced(order))

    def _ranked(self, items: npt.NDArray[np.int32], scores: Floats, grid: Grid) -> Ints:
        """[B, W]: the rank of each item."""
        gains = self.config.relevance * _relevance(scores)
        alike = self._likeness(items)
        users, width = np.arange(len(items)), items.shape[1]
        rank = np.broadcast_to(np.arange(width, 2 * width), items.shape).copy()
        nearest = np.zeros_like(scores)
        left, lengths = grid.there.copy(), grid.lengths
        for place in range(min(self.config.places, width)):
            value = np.where(left, gains - (1 - self.config.relevance) * nearest, -np.inf)
            pick, some = value.argmax(axis=1), lengths > place
            rank[users[some], pick[some]] = place
            left[users[some], pick[some]] = False
            near = alike[users, pick]
            nearest = near if place == 0 else np.maximum(nearest, near)
        return rank

    def _likeness(self, items: npt.NDArray[np.int32]) -> Floats:
        """[B, W, W]: cosines. Always of `depth` items, so that a user's numbers do not hang on who is beside them."""
        padded = np.zeros((len(items), self.config.depth), np.int32)
        padded[:, : items.shape[1]] = items
        vectors = self.vectors[padded]
        return (vectors @ vectors.transpose(0, 2, 1))[:, : items.shape[1], : items.shape[1]]


def _relevance(scores: Floats) -> Floats:
    """From 1 for a list's best score to 0 for its last; scores fall. All 1 where they are equal."""
    low, spread = scores[:, -1:], scores[:, :1] - scores[:, -1:]
    return np.where(spread > 0, (scores - low) / np.where(spread > 0, spread, 1), 1).astype(np.float32)
