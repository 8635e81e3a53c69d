"""Lists that are never short: what a user gets where the models have nothing, or too little, to say.

The sources in their order: the user's segments, most specific first, what is popular overall, any eligible item by its
category and index, and last, only where nothing else is left, the items that the no-repeat rule would have kept away. A
full list comes before no-repeat; how often that happened is counted (`Origin.REPEAT`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.audience import ROW
from recjobs.compose.rules import count_moved, first_of_each
from recjobs.compose.steps import LISTS, ORIGIN, Origin, Scene, Stepped
from recjobs.ragged import Ints, places, places_in_runs

STEP_DOWN = 1e-4
"""How far, relative to a list's lowest model score (at least to 1), each item without one lies below the item above."""

_TURN = "turn"
_LEAST_SHARE = 1e-6
"""So that what has no share comes after all that has."""


@dataclass(frozen=True)
class ColdStart:
    """Gives cold users places of their segment's list among their candidates', the fewer, the more events they have.

    Of a user with n of `threshold` events `share` × (1 - n / threshold) of the places, spread evenly: by turns, the
    segment's first, where that is a half. An item on both lists keeps its earlier place. An item of the segment's list
    takes the score of the next candidate below it, so that scores stay those of the model and never rise.
    """

    threshold: int
    share: float = 0.5
    name: str = "cold_start"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The lists, those of cold users blended."""
        cold = scene.audience.cold
        if not cold.any():
            return Stepped(lists)
        is_cold = pl.Series(cold[lists[ROW].to_numpy()], dtype=pl.Boolean)
        towers, warm = lists.filter(is_cold), lists.filter(~is_cold)
        wanted = np.where(cold, scene.length, 0).astype(np.int64)
        known = scene.audience.events / max(self.threshold, 1)
        shares = np.clip(self.share * (1 - known), _LEAST_SHARE, 1 - _LEAST_SHARE)
        blended = _by_turns(popular_items(scene, LISTS.to_frame(), wanted, repeats=False), towers, shares)
        after = pl.concat([warm, blended]).sort(ROW, maintain_order=True)
        moved = count_moved(towers, blended, scene)
        return Stepped(after, added=after.height - lists.height, moved=moved)


@dataclass(frozen=True)
class Fill:
    """Cuts every list to its length, or fills it up to that from the fallbacks, scored below what is there."""

    name: str = "fill"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """Lists of exactly `scene.length` items each."""
        limits = np.full(scene.audience.size, scene.length, np.int64)
        kept = first_of_each(lists, limits, places_in_runs(lists[ROW].to_numpy()))
        added = popular_items(scene, kept, limits - scene.lengths(kept))
        full = pl.concat([kept, added]).sort(ROW, maintain_order=True) if added.height else kept
        return Stepped(descending(full), removed=lists.height - kept.height, added=added.height)


def popular_items(scene: Scene, present: pl.DataFrame, wanted: Ints, *, repeats: bool = True) -> pl.DataFrame:
    """For each user the next `wanted` items of the fallbacks that are not `present`, best first, without scores.

    Fewer than `wanted` only where no eligible item is left (or, without `repeats`, none that is no repeat).
    """
    wanted = wanted.copy()
    short = pl.Series(wanted > 0, dtype=pl.Boolean)
    there = present.filter(short.gather(present[ROW])).select(ROW, ITEM_INDEX)
    everywhere = np.zeros(scene.audience.size, np.int32)
    levels = [(np.ascontiguousarray(level), True) for level in scene.audience.segments.T]
    sources = [*levels, (everywhere, True), *([(everywhere, False)] if repeats else [])]
    found = [LISTS.to_frame()]
    for segments, keep_barred_out in sources:
        if not wanted.any():
            break
        part = _next_items(scene, there, wanted, segments, barred=keep_barred_out)
        wanted -= scene.lengths(part)
        there = pl.concat([there, part.select(ROW, ITEM_INDEX)])
        found.append(part)
    return pl.concat(found).sort(ROW, maintain_order=True)


def _next_items(
    scene: Scene,
    there: pl.DataFrame,
    wanted: Ints,
    segments: np.ndarray[tuple[int], np.dtype[np.int32]],
    *,
    barred: bool,
) -> pl.DataFrame:
    """The next items of each user's segment in `segments`, `wanted` of each that are not `there` (nor `barred`)."""
    taken = pl.Series(scene.keys(there))
    counts = scene.lengths(there)
    if barred:
        taken = pl.concat([taken, scene.barred])
        counts = counts + np.bincount(scene.barred.to_numpy() // (scene.catalogue.size + 1), minlength=len(wanted))
    # Of the first `wanted + taken` items at least `wanted` are not taken: no need to look further.
    own = scene.popularity.lengths[segments]
    depth = np.where(wanted > 0, np.minimum(own, wanted + counts), 0)
    at = np.repeat(scene.popularity.starts[segments], depth) + places(depth)
    offered = pl.DataFrame(
        {
            ROW: np.repeat(np.arange(len(wanted), dtype=np.int32), depth),
            ITEM_INDEX: scene.popularity.items[at],
            SCORE: pl.repeat(None, len(at), dtype=pl.Float32, eager=True),
            ORIGIN: _origins(np.repeat(segments, depth), scene.popularity.weights[at], barred=barred),
        },
        schema=LISTS,
    )
    fresh = offered.filter(~scene.among(offered, taken))
    return first_of_each(fresh, wanted, places_in_runs(fresh[ROW].to_numpy()))


def _origins(segments: npt.NDArray[np.int32], weights: npt.NDArray[np.float64], *, barred: bool) -> pl.Series:
    if not barred:
        return pl.repeat(int(Origin.REPEAT), len(segments), dtype=pl.Int8, eager=True)
    overall = np.where(weights > 0, Origin.POPULAR, Origin.CATALOGUE)
    return pl.Series(np.where(segments > 0, Origin.SEGMENT, overall).astype(np.int8))


def _by_turns(popular: pl.DataFrame, towers: pl.DataFrame, shares: npt.NDArray[np.float64]) -> pl.DataFrame:
    """Both lists as one in which `popular` has about the user's share of any first places."""
    turns = [
        lists.with_columns(pl.Series(_TURN, (places_in_runs(lists[ROW].to_numpy()) + 0.5) / own[lists[ROW].to_numpy()]))
        for lists, own in ((popular, shares), (towers, 1 - shares))
    ]
    ordered = pl.concat(turns).sort(ROW, _TURN, maintain_order=True)
    blended = ordered.unique([ROW, ITEM_INDEX], keep="first", maintain_order=True)
    return blended.drop(_TURN).with_columns(pl.col(SCORE).backward_fill().over(ROW))


def descending(lists: pl.DataFrame) -> pl.DataFrame:
    """`lists` with a score for every row: a list's rows without one, at its end, go down step by step below the rest.

    A list without any score begins just below 0.
    """
    if not lists[SCORE].null_count():
        return lists
    low = pl.col(SCORE).cast(pl.Float64).forward_fill().over(ROW).fill_null(0.0)
    steps = pl.col(SCORE).is_null().cum_sum().over(ROW)
    step = STEP_DOWN * pl.max_horizontal(low.abs(), pl.lit(1.0))
    below = (low - steps * step).cast(pl.Float32)
    return lists.with_columns(pl.coalesce(SCORE, below).alias(SCORE))
