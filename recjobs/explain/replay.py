"""The steps of `compose` once more for one user, by the code and the settings of the run, watched at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recjobs import columns
from recjobs.columns import ITEM_INDEX, REASON, SCORE
from recjobs.compose.audience import audience_of
from recjobs.compose.lists import candidate_lists
from recjobs.compose.stage import loading_of
from recjobs.compose.steps import ORIGIN, Origin, Scene, Step
from recjobs.explain.finding import COMPOSE, Night, part_of, rows_of_user
from recjobs.explain.finding import SCORE as SCORED


@dataclass(frozen=True)
class Stage:
    """One step: where the item stood before and after it, from 1; None: it was not on the list."""

    step: str
    says: str
    """What the step does, in its own words."""
    before: int | None
    after: int | None
    rows_before: int
    rows_after: int

    @property
    def removed(self) -> bool:
        """Whether the item fell out here."""
        return self.before is not None and self.after is None


@dataclass(frozen=True)
class Replay:
    """How the list came about, and where the item is on it."""

    cold: bool
    segments: tuple[str, ...]
    """The user's segments with support, most specific first; `all` at the end."""
    stages: tuple[Stage, ...]
    place: int | None
    length: int
    score: float | None
    lowest: float | None
    """The last score on the list."""
    reason: str | None
    origin: str | None
    """What put it there: the model, or which fallback."""
    eligible: bool
    barred: bool
    """No-repeat keeps it from this user."""
    stored_place: int | None
    """Where it stands on the list that was written."""


def replay(night: Night, user: str, item: int, surface: str) -> Replay:
    """The making of `user`'s list on `surface`, watched for item_index `item`."""
    workshop = loading_of(night.inputs, night.compose_settings, night.manifests[COMPOSE].folder).workshop()
    part = part_of(night, user)
    scored_uri = night.manifests[SCORED].uri("scored", part)
    audience = audience_of(
        rows_of_user(night.manifests["extract"].uri("users", part), user), workshop.config, workshop.popularity
    )
    lists = candidate_lists(rows_of_user(scored_uri, user, [columns.USER, ITEM_INDEX, SCORE]), scored_uri)
    shelf = workshop.shelves[surface]
    scene = shelf.scene(audience)
    stages = []
    for step in shelf.steps:
        after = step(lists, scene).lists
        stages.append(_watched(step, lists, after, item))
        lists = after
    return _told(night, user, surface, scene, tuple(stages), lists, item)


def _told(
    night: Night, user: str, surface: str, scene: Scene, stages: tuple[Stage, ...], lists: pl.DataFrame, item: int
) -> Replay:
    place = _place(lists, item)
    row = {} if place is None else lists.row(place - 1, named=True)
    names = scene.popularity.segments
    own = [names[code] for code in scene.audience.segments[0].tolist() if code]
    return Replay(
        cold=bool(scene.audience.cold[0]),
        segments=(*own, names[0]),
        stages=stages,
        place=place,
        length=lists.height,
        score=row.get(SCORE),
        lowest=lists[SCORE][-1] if lists.height else None,
        reason=row.get(REASON),
        origin=Origin(row[ORIGIN]).name.lower() if row else None,
        eligible=bool(scene.catalogue.may_show(np.array([item]))[0]),
        barred=bool((scene.barred == scene.catalogue.keys(np.zeros(1, np.int32), np.array([item], np.int32))[0]).any()),
        stored_place=_stored(night, user, surface, str(scene.catalogue.item_id[item])),
    )


def _watched(step: Step, before: pl.DataFrame, after: pl.DataFrame, item: int) -> Stage:
    says = (type(step).__doc__ or step.name).strip().splitlines()[0]
    return Stage(step.name, says, _place(before, item), _place(after, item), before.height, after.height)


def _place(lists: pl.DataFrame, item: int) -> int | None:
    at = np.flatnonzero(lists[ITEM_INDEX].to_numpy() == item)
    return int(at[0]) + 1 if len(at) else None


def _stored(night: Night, user: str, surface: str, item: str) -> int | None:
    row = rows_of_user(night.manifests[COMPOSE].uri("lists", surface, part_of(night, user)), user)
    listed = row.column(columns.ITEM)[0].as_py() if row.num_rows else []
    return listed.index(item) + 1 if item in listed else None
