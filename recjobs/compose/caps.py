"""The step of caps: at most so many of a category, brand, seller or any other column's value in a list."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from recjobs.columns import ITEM_INDEX
from recjobs.compose.arranging import count_displaced, reordered
from recjobs.compose.rulebook import Limit
from recjobs.compose.spreading import spread
from recjobs.compose.steps import Scene, Stepped


@dataclass(frozen=True)
class Caps:
    """Moves what is above a cap below what is not; clusters of item vectors are capped the same way.

    A list that has nothing else stays over it: full comes first, and the places are counted as giving way.
    """

    limits: tuple[Limit, ...]
    name: str = "caps"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The lists with their caps kept."""
        order, gave_way = spread(lists[ITEM_INDEX].to_numpy(), scene.lengths(lists), self.limits)
        return Stepped(reordered(lists, order), moved=count_displaced(order), gave_way=gave_way)
