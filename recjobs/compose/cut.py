"""The step that lets go of candidates no later step can bring back."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from recjobs.compose.audience import ROW
from recjobs.compose.steps import Scene, Stepped
from recjobs.ragged import places_in_runs


@dataclass(frozen=True)
class Cut:
    """Cuts lists to their length: later steps push items down or move them within it, and bring none back."""

    name: str = "cut"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The first `scene.length` items of each list."""
        place = places_in_runs(lists[ROW].to_numpy())
        kept = lists.filter(pl.Series(place < scene.length, dtype=pl.Boolean))
        return Stepped(kept, removed=lists.height - kept.height)
