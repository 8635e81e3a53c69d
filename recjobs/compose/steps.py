"""The steps between scored candidates and finished lists: what a step is, and their order.

The lists of a block of users are one table with a row per (user, item):

`row` int32, the user's row in the block; `item_index` int32; `score` float32; `origin` int8, a code of `Origin`.

Rows of a user stand together, users in the order of the block, each user's items best first. Every step keeps that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.audience import LAST, ROW, TYPE, Audience
from recjobs.compose.catalogue import Catalogue
from recjobs.compose.config import SurfaceConfig
from recjobs.compose.popularity import Popularity

ORIGIN = "origin"

LISTS = pl.Schema({ROW: pl.Int32, ITEM_INDEX: pl.Int32, SCORE: pl.Float32, ORIGIN: pl.Int8})
"""The columns of the table that steps pass on."""


class Origin(IntEnum):
    """What put an item on a list."""

    MODEL = 0
    SEGMENT = 1
    POPULAR = 2
    CATALOGUE = 3
    """Eligible, though nobody wanted it lately."""
    REPEAT = 4
    """Against the no-repeat rule, because nothing else was left."""
    PINNED = 5
    """A rule gave it its place."""
    EXPLORED = 6
    """Drawn at random, to learn of it."""


@dataclass(frozen=True)
class Scene:
    """All that the rules of one surface look at while they make the lists of one block."""

    audience: Audience
    catalogue: Catalogue
    popularity: Popularity
    surface: SurfaceConfig
    no_repeat: frozenset[int] = frozenset()
    """Codes of the event types after which an item is not shown again, where `bars` do not say."""
    bars: npt.NDArray[np.float32] | None = None
    """[T + 1, I + 1]: by event type, days until an item may be shown again: 0 at once, infinite never."""
    now: int = 0
    """The end of the users' histories, in Unix seconds."""
    propensity: float | None = None
    """The chance that exploring gives an item its place; None where the surface does not explore."""

    @property
    def length(self) -> int:
        """How long every list will be: the surface's length, or all eligible items where there are fewer."""
        return min(self.surface.length, len(self.catalogue.eligible_items))

    @cached_property
    def barred(self) -> pl.Series:
        """Keys (`Catalogue.keys`) of the eligible items that repeat rules keep from each user, ascending."""
        pairs = self.audience.pairs_of(set(self.no_repeat)) if self.bars is None else self._barred_pairs(self.bars)
        shown = pairs.filter(pl.Series(self.catalogue.may_show(pairs[ITEM_INDEX].to_numpy()), dtype=pl.Boolean))
        return pl.Series(self.keys(shown)).sort()

    def _barred_pairs(self, bars: npt.NDArray[np.float32]) -> pl.DataFrame:
        """`row`, `item_index` of what was had so lately that the rules keep it away."""
        pairs = self.audience.pairs
        items = pairs[ITEM_INDEX].to_numpy()
        days = bars[pairs[TYPE].to_numpy(), np.where(self.catalogue.known(items), items, 0)]
        since = (self.now - pairs[LAST].to_numpy()) / 86_400
        return pairs.filter(pl.Series(since < days, dtype=pl.Boolean)).select(ROW, ITEM_INDEX).unique()

    def keys(self, lists: pl.DataFrame) -> npt.NDArray[np.int64]:
        """One number for each (user, item) of `lists`."""
        return self.catalogue.keys(lists[ROW].to_numpy(), lists[ITEM_INDEX].to_numpy())

    def among(self, lists: pl.DataFrame, keys: pl.Series) -> pl.Series:
        """Whether each (user, item) of `lists` is among `keys`."""
        return pl.Series(self.keys(lists)).is_in(keys.implode())

    def lengths(self, lists: pl.DataFrame) -> npt.NDArray[np.int64]:
        """How many items each user of the block has in `lists`."""
        return np.bincount(lists[ROW].to_numpy(), minlength=self.audience.size)


@dataclass(frozen=True)
class StepCounts:
    """What one step did, counted in rows (a row is an item on a user's list)."""

    rows_in: int = 0
    removed: int = 0
    added: int = 0
    moved: int = 0
    """Rows that stood in another place among the rows kept."""
    gave_way: int = 0
    """Places where a rule could not be kept, because nothing else was left or allowed."""

    def __add__(self, other: StepCounts) -> StepCounts:
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return StepCounts(*(mine + theirs for mine, theirs in pairs))


@dataclass(frozen=True)
class Stepped:
    """The lists after a step, and what it did to them."""

    lists: pl.DataFrame
    removed: int = 0
    added: int = 0
    moved: int = 0
    gave_way: int = 0


class Step(Protocol):
    """One rule over the lists of a block. It keeps the table's order, or says what it moved."""

    @property
    def name(self) -> str:
        """What the step is called in `steps.json`."""
        ...

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The lists after this step."""
        ...


def run_steps(steps: Sequence[Step], lists: pl.DataFrame, scene: Scene) -> tuple[pl.DataFrame, dict[str, StepCounts]]:
    """`lists` after all `steps`, in their order, and what each did, by its name."""
    counts = {}
    for step in steps:
        after = step(lists, scene)
        counts[step.name] = StepCounts(lists.height, after.removed, after.added, after.moved, after.gave_way)
        lists = after.lists
    return lists, counts
