"""The step of pinned items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.arranging import PLACE, put_in
from recjobs.compose.audience import ROW
from recjobs.compose.rulebook import Pinned
from recjobs.compose.steps import LISTS, ORIGIN, Origin, Scene, Stepped


@dataclass(frozen=True)
class Pins:
    """Puts pinned items at their places, in the list of everybody who may be shown them.

    That is not the case where the item is not eligible or a repeat rule keeps it from the user: then the place goes to
    who would have it anyway, and is counted as giving way.
    """

    pinned: tuple[Pinned, ...]
    name: str = "pins"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The lists with their pinned items."""
        wanted = _everywhere(self.pinned, scene.audience.size)
        shown = pl.Series(scene.catalogue.may_show(wanted[ITEM_INDEX].to_numpy()), dtype=pl.Boolean)
        fixed = wanted.filter(shown & ~scene.among(wanted, scene.barred))
        return put_in(lists, wanted, fixed, scene)


def _everywhere(pinned: tuple[Pinned, ...], users: int) -> pl.DataFrame:
    """Every pinned item in each of `users` lists: `LISTS` and the place."""
    each = len(pinned)
    return pl.DataFrame(
        {
            ROW: np.repeat(np.arange(users, dtype=np.int32), each),
            ITEM_INDEX: np.tile(np.array([pin.item for pin in pinned], np.int32), users),
            SCORE: pl.repeat(None, users * each, dtype=pl.Float32, eager=True),
            ORIGIN: np.full(users * each, Origin.PINNED, np.int8),
            PLACE: np.tile(np.array([pin.place for pin in pinned], np.int64), users),
        },
        schema={**LISTS, PLACE: pl.Int64},
    )
