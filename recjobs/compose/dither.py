"""The step of dithering: a little noise in the order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recjobs.compose.arranging import count_displaced, is_fixed, reordered
from recjobs.compose.audience import ROW
from recjobs.compose.chance import Seed, normal
from recjobs.compose.steps import Scene, Stepped
from recjobs.ragged import Ints, places_in_runs


@dataclass(frozen=True)
class Dither:
    """Orders a list by ln(place) + noise (Dunning and Friedman 2014): from 1 to 2 is as near as from 10 to 20.

    Only within the places that are shown, so that what was capped out of a list stays out; pinned and explored items
    stay where they are. The noise is drawn by user and place: the same date and surface give the same list.
    """

    strength: float
    """The noise's standard deviation."""
    seed: Seed
    name: str = "dither"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The lists in their new order."""
        order = self._order(lists, scene)
        return Stepped(reordered(lists, order), moved=count_displaced(order))

    def _order(self, lists: pl.DataFrame, scene: Scene) -> Ints:
        rows, place = lists[ROW].to_numpy(), places_in_runs(lists[ROW].to_numpy())
        moving = np.flatnonzero((place < scene.length) & ~is_fixed(lists))
        noise = normal(self.seed.keys(scene.audience.user_id), scene.length)
        noisy = np.log(place[moving] + 1.0) + self.strength * noise[rows[moving], place[moving]]
        order = np.arange(lists.height)
        # What moves takes, in its new order, the places of what moves: the fixed ones are not touched.
        order[moving] = moving[np.lexsort((noisy, rows[moving]))]
        return order
