"""The step of includes and excludes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recjobs.columns import ITEM_INDEX
from recjobs.compose.conditions import Mask
from recjobs.compose.steps import Scene, Stepped


@dataclass(frozen=True)
class Filters:
    """Removes items that the surface's includes and excludes keep out. An unknown item is left to `Eligibility`."""

    allowed: Mask
    """[I + 1]."""
    name: str = "filters"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The rows whose item the rules let in."""
        items = lists[ITEM_INDEX].to_numpy()
        known = scene.catalogue.known(items)
        kept = lists.filter(pl.Series(~known | self.allowed[np.where(known, items, 0)], dtype=pl.Boolean))
        return Stepped(kept, removed=lists.height - kept.height)
