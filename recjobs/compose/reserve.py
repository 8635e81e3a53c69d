"""The step that gives rules something to choose from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recjobs.compose.audience import ROW
from recjobs.compose.fallbacks import descending, popular_items
from recjobs.compose.steps import Scene, Stepped


@dataclass(frozen=True)
class Reserve:
    """Adds what is popular below a user's candidates, so that a rule that passes over many still fills the list.

    Lists are as long as the surface's at least (but for lack of items that are no repeats), and `further` more.
    """

    further: int
    name: str = "reserve"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The lists with their reserve, scored below the rest."""
        wanted = np.maximum(scene.length - scene.lengths(lists), 0) + self.further
        added = popular_items(scene, lists, wanted.astype(np.int64), repeats=False)
        if not added.height:
            return Stepped(lists)
        longer = pl.concat([lists, added]).sort(ROW, maintain_order=True)
        return Stepped(descending(longer), added=added.height)
