"""The steps that choose among a user's scored candidates: eligibility, no-repeat, order by score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.audience import ROW
from recjobs.compose.steps import Scene, Stepped
from recjobs.ragged import Ints


@dataclass(frozen=True)
class Eligibility:
    """Removes items that are unavailable, excluded, or not in the catalogue."""

    name: str = "eligibility"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The rows whose item may be shown."""
        return _kept(lists, pl.Series(scene.catalogue.may_show(lists[ITEM_INDEX].to_numpy()), dtype=pl.Boolean))


@dataclass(frozen=True)
class NoRepeat:
    """Removes what the surface's repeat rules and `no_repeat` types keep from the user, who had it before."""

    name: str = "no_repeat"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The rows that are no repeats."""
        return _kept(lists, ~scene.among(lists, scene.barred))


@dataclass(frozen=True)
class ByScore:
    """Orders each user's items by score, ties as the ranker left them, and drops second copies of an item."""

    name: str = "score"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The rows in order of their score."""
        ordered = lists
        if not _is_ordered(lists):
            ordered = lists.sort([ROW, SCORE], descending=[False, True], maintain_order=True)
        moved = count_moved(lists, ordered, scene) if ordered is not lists else 0
        single = pl.Series(scene.keys(ordered)).is_first_distinct()
        kept = _kept(ordered, single)
        return Stepped(kept.lists, removed=kept.removed, moved=moved)


def first_of_each(lists: pl.DataFrame, limits: Ints, ranks: Ints) -> pl.DataFrame:
    """The rows whose rank in their user's list is below the user's limit. `limits` is by user, `ranks` by row."""
    return lists.filter(pl.Series(ranks < limits[lists[ROW].to_numpy()], dtype=pl.Boolean))


def count_moved(before: pl.DataFrame, after: pl.DataFrame, scene: Scene) -> int:
    """How many rows that are in both stand in another place among those, counted user by user."""
    kept_before = before.filter(scene.among(before, pl.Series(scene.keys(after))))
    kept_after = after.filter(scene.among(after, pl.Series(scene.keys(before))))
    if kept_before.height != kept_after.height:
        kept_before = kept_before.unique([ROW, ITEM_INDEX], keep="first", maintain_order=True)
        kept_after = kept_after.unique([ROW, ITEM_INDEX], keep="first", maintain_order=True)
    return int((scene.keys(kept_before) != scene.keys(kept_after)).sum())


def _kept(lists: pl.DataFrame, mask: pl.Series) -> Stepped:
    kept = lists.filter(mask)
    return Stepped(kept, removed=lists.height - kept.height)


def _is_ordered(lists: pl.DataFrame) -> bool:
    rows, scores = lists[ROW].to_numpy(), lists[SCORE].to_numpy()
    return bool(np.all((rows[1:] != rows[:-1]) | (scores[1:] <= scores[:-1])))
