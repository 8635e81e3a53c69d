"""The step of boosts: score × business weight, whatever sign scores have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.arranging import count_displaced
from recjobs.compose.audience import ROW
from recjobs.compose.rulebook import Floats
from recjobs.compose.steps import Scene, Stepped

_AT = "at"


@dataclass(frozen=True)
class Boosts:
    """Adds to each score its item's boost, in standard deviations of that user's scores, and orders anew.

    Scores are standardised and may be negative, so a factor on the score itself would push some items down. Here it is
    a factor on the weight e^(score / deviation): `multiply = 1.2` adds ln 1.2 deviations, which always helps, and
    0.5 undoes 2. Where all of a user's scores are equal, the deviation counts as 1.
    """

    boost: Floats
    """[I + 1]."""
    name: str = "boosts"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:  # noqa: ARG002
        """The lists by boosted score; ties stay in their order."""
        added = self.boost[lists[ITEM_INDEX].to_numpy()]
        if not added.any():
            return Stepped(lists)
        deviation = pl.col(SCORE).cast(pl.Float64).std(ddof=0).over(ROW)
        scale = pl.when(deviation > 0).then(deviation).otherwise(1.0)
        raised = lists.with_columns((pl.col(SCORE) + pl.Series(added.astype(np.float64)) * scale).cast(pl.Float32))
        numbered = raised.with_row_index(_AT)
        ordered = numbered.sort([ROW, SCORE], descending=[False, True], maintain_order=True)
        moved = count_displaced(ordered[_AT].to_numpy().astype(np.int64))
        return Stepped(ordered.drop(_AT), moved=moved)
