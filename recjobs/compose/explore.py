"""The step of exploration: some lists show new items, at random, and say with what chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.arranging import PLACE, put_in
from recjobs.compose.audience import ROW
from recjobs.compose.chance import Seed, uniform
from recjobs.compose.config import ExploreConfig
from recjobs.compose.rulebook import Codes
from recjobs.compose.steps import LISTS, ORIGIN, Origin, Scene, Stepped
from recjobs.ragged import places_in_runs


@dataclass(frozen=True)
class Explore:
    """In a `share` of lists, drawn by user, each of `places` goes to another item of the pool, drawn evenly.

    So an item that may be shown to a user stands at such a place, because of this step, with the chance `share` / pool:
    its propensity. One that is drawn but kept from the user, or on the list already (or a list too short for the
    place), leaves the place as it was and is counted as giving way; the others' chances do not hang on that.
    """

    config: ExploreConfig
    pool: Codes
    """The eligible items that are tried."""
    seed: Seed
    name: str = "explore"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The lists with what is explored."""
        drawn = self._drawn(scene)
        head = lists.filter(pl.Series(places_in_runs(lists[ROW].to_numpy()) < scene.length, dtype=pl.Boolean))
        taken = pl.concat([scene.barred, pl.Series(scene.keys(head))])
        reached = pl.Series(drawn[PLACE].to_numpy() <= scene.lengths(head)[drawn[ROW].to_numpy()], dtype=pl.Boolean)
        fixed = drawn.filter(reached & ~scene.among(drawn, taken))
        return put_in(lists, drawn, fixed, scene)

    def _drawn(self, scene: Scene) -> pl.DataFrame:
        """What the draw says: `LISTS` and the place."""
        keys = self.seed.keys(scene.audience.user_id)
        at = sorted(place - 1 for place in self.config.places if place <= scene.length)[: len(self.pool)]
        chosen = np.flatnonzero(uniform(keys, 1)[:, 0] < self.config.share)
        shuffled = np.argsort(uniform(keys[chosen], len(self.pool), first=1), axis=1)[:, : len(at)]
        return pl.DataFrame(
            {
                ROW: np.repeat(chosen.astype(np.int32), len(at)),
                ITEM_INDEX: self.pool[shuffled].ravel(),
                SCORE: pl.repeat(None, shuffled.size, dtype=pl.Float32, eager=True),
                ORIGIN: np.full(shuffled.size, Origin.EXPLORED, np.int8),
                PLACE: np.tile(np.array(at, np.int64), len(chosen)),
            },
            schema={**LISTS, PLACE: pl.Int64},
        )
