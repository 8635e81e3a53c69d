"""Retrieval on the generated marketplace, whose tastes are known: what of the best possible recall it reaches.

The oracle ranks by the true chance of a view on the day that is judged. Beside it stand what the same oracle would have
said the day before (nobody can know which sales and interests begin overnight), what an observer of the rules reads
out of the users' histories (`observer.py`), the towers alone, retrieval, and what is popular in the user's country;
apart for users and items with few events or none. Last, warm users and items are judged once more with their id
blanked, as if they had never been seen.

Two measures: recall on what visitors did that day, and the chance that a view of that day goes to the list, by the
true chances themselves. The second counts every user, whether they came or not, and has no luck in it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.quality import blanking
from benchmarks.quality.cases import Case
from benchmarks.quality.figures import ranked_lists, recalls
from benchmarks.quality.observer import observed_chances
from benchmarks.quality.ours import (
    FINISHED,
    RETRIEVAL,
    TOWERS,
    candidate_lists,
    finished_lists,
    item_matrix,
    tower_scorer,
)
from benchmarks.quality.problem import Problem, counted, load_problem
from benchmarks.quality.ranking import Lists, Scorer, Scores, best_lists
from benchmarks.quality.running import COMPOSE, SEARCH, needed_steps, trained_in_full, work_folder
from recjobs import columns as c
from recjobs.cli.printing import print_table
from recjobs.manifest import Manifest, load
from recjobs.plan import load_plan, plan_run
from recjobs.settings import Settings, load_settings
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.generation import generate
from recjobs.sources.marketplace.preference import true_preference
from recjobs.stages import run_step

logger = logging.getLogger("recjobs.quality")

DS = date(2026, 6, 30)
CASE = Case("next day", "marketplace", DS, 1)
VALIDATION = Case("validation", "marketplace", DS - timedelta(days=1), 1)
"""The day before: what settings are chosen on."""
SIZE = {"marketplace.users": 3000, "marketplace.items": 1500, "marketplace.days": 40}
"""Small enough for a few minutes on 2 cores; `--set marketplace.users=…` makes it larger."""
K, LENGTH = 20, 200
ALONE = 5
"""The list's length where cold items are ranked alone: they are few."""
COLD, WARM = 5, 20
"""Users with fewer events than the first are cold, items with fewer than the second; both are warm from there on."""
WARM_USERS, WARM_ITEMS = f"users with {WARM} events and more", f"a fifth of the items with {WARM} events and more"
COLD_ITEMS = f"items with less than {WARM} events"
BLANKED_SHARE = 0.2
"""Of the warm items: so few that the others keep their company."""
ORACLE, DAY_BEFORE, OBSERVER, POPULAR = "oracle", "oracle of the day before", "observer", "popular in country"

Mask = npt.NDArray[np.bool_]
Prepare = Callable[[MarketplaceConfig, Path], None]
"""Changes the generated snapshots below a folder; doing it twice does no more."""


@dataclass(frozen=True)
class Row:
    """One method for one group: recall at 20 of the `users` with an outcome, the chance of a view for `all_users`."""

    group: str
    method: str
    recall: float
    users: int
    chance: float
    all_users: int
    of: float | None = None
    """Share of the recall of the group's first method."""
    chance_of: float | None = None
    """Share of its chance."""


@dataclass(frozen=True)
class World:
    """The run that is judged."""

    case: Case
    settings: Settings
    problem: Problem
    steps: Mapping[str, Manifest]
    states: pl.DataFrame

    @property
    def user_events(self) -> npt.NDArray[np.int64]:
        """[U]: events of each user until the lists' date."""
        return np.bincount(self.problem.history.user, minlength=self.problem.shape[0])

    @property
    def item_events(self) -> npt.NDArray[np.int64]:
        """[I + 1]: events of each item in training."""
        return np.bincount(self.problem.trained.item, minlength=self.problem.shape[1])

    @cached_property
    def truth(self) -> Scores:
        """[U, I + 1]: the true chance that a view on the day that is judged goes to the item."""
        return self.chances(self.case.until)

    def chances(self, day: date) -> Scores:
        """[U, I + 1]: the true chances of a view on `day`; a row of zeros for who is not there then."""
        items = self.problem.items.item_id[1:].to_list()
        known = true_preference(self.config, self.problem.users.to_list(), items, day)
        return np.pad(known, ((0, 0), (1, 0)))

    @property
    def config(self) -> MarketplaceConfig:
        """How it was generated."""
        assert self.settings.marketplace is not None
        return self.settings.marketplace


def main(seed: int, overrides: Mapping[str, Any], until: str = SEARCH) -> None:
    """Generates, runs the stages, judges, and writes `marketplace.json` and `.png` below work/quality."""
    from benchmarks.quality.marketplace_picture import draw

    world = run_world(seed, overrides, until=until)
    rows, target = judged(world, seed), work_folder() / "marketplace.json"
    content = {
        "ds": str(world.case.ds),
        "seed": seed,
        "overrides": {**SIZE, **overrides},
        "k": K,
        "train_seconds": world.steps[blanking.TRAIN].timings["training"],
        "rows": [row.__dict__ for row in rows],
    }
    target.write_text(json.dumps(content, indent=1))
    draw(work_folder() / "marketplace.png", rows)
    cells = [
        [row.group, row.method, row.recall, row.of, row.users, row.chance, row.chance_of, row.all_users] for row in rows
    ]
    header = ["", "list", "recall", "of first", "users", "chance", "of first", "users"]
    print_table(f"marketplace: recall@{K} on the next day, and a view's chance to go there ({target})", header, cells)


def judged(world: World, seed: int) -> list[Row]:
    """All groups' rows."""
    started = time.perf_counter()
    lists = _whole(world)
    rows = [*_rows(world, "all users", lists), *_cold_users(world, lists), *_cold_items(world, lists)]
    rows += _blanked(world, item_matrix(world.steps[SEARCH], world.problem.shape[1]), seed)
    logger.info("marketplace: judged in %.0f s", time.perf_counter() - started)
    return rows


def run_world(
    seed: int, overrides: Mapping[str, Any], case: Case = CASE, *, until: str = SEARCH, prepare: Prepare | None = None
) -> World:
    """Generates the marketplace until the day after `DS`, has it prepared, and runs the stages of `case` to `until`."""
    uri, settings = planned_world(seed, overrides, case, prepare)
    steps = {}
    for step in needed_steps(load_plan(uri), until):
        logger.info("marketplace: %s", step)
        steps[step] = load(run_step(uri, step))
    states = pl.concat([pl.read_parquet(part.uri) for part in steps["extract"].parts("users")])
    return World(case, settings, load_problem(steps["extract"], settings, case), steps, states)


def planned_world(
    seed: int, overrides: Mapping[str, Any], case: Case, prepare: Prepare | None = None
) -> tuple[str, Settings]:
    """The plan's URI and the settings of what `run_world` runs. Worlds of other sizes or preparation lie elsewhere."""
    values = {**SIZE, **overrides}
    parts = [str(value) for name, value in values.items() if name.startswith("marketplace.")]
    parts += [str(seed), *([prepare.__name__] if prepare else [])]
    folder = work_folder() / "marketplace" / "-".join(parts)
    paths = {f"{kind}.path": str(folder / "data" / kind) for kind in ("events", "items", "users")}
    values = {
        "root": str(folder / "artefacts"),
        "seed": seed,
        "marketplace.seed": seed,
        **paths,
        **trained_in_full(),
        **values,
    }
    settings = load_settings("marketplace", values)
    assert settings.marketplace is not None
    generate(settings.marketplace, str(folder / "data"), CASE.until, keep=True)
    if prepare:
        prepare(settings.marketplace, folder / "data")
    return plan_run("marketplace", case.ds, values), settings


# -- lists


def known_scorer(chances: Scores) -> Scorer:
    """The chances themselves, float32[U, I + 1]."""
    return lambda rows: chances[rows].copy()


def popular_scorer(world: World) -> Scorer:
    """Events in the user's country; where none, or no country is known, everybody's."""
    problem, events = world.problem, world.problem.trained
    country = world.states[c.COUNTRY].fill_null("").cast(pl.Categorical).to_physical().to_numpy().astype(np.int64)
    shape = (int(country.max()) + 1, problem.shape[1])
    by_country = counted(country[events.user], events.item, None, shape).toarray()
    total = by_country.sum(axis=0)
    weighted = (by_country + 1e-3 * total / max(total.max(), 1)).astype(np.float32)

    def scores(rows: slice) -> Scores:
        block: Scores = weighted[country[rows]]
        return block

    return scores


def _lists(world: World, scorer: Scorer, eligible: Mask | None = None) -> Lists:
    shown = world.problem.items.eligible if eligible is None else eligible
    return best_lists(scorer, world.problem.shape[0], shown, None, LENGTH)


def recall(
    world: World, lists: Lists, users: Mask | None = None, items: Mask | None = None, k: int = K
) -> tuple[float, int]:
    """Recall at `k` over the users among `users` with an outcome among `items`, and how many they are."""
    truth = world.problem.truth
    kept = np.ones(len(truth.row), np.bool_)
    if users is not None:
        kept &= users[truth.row]
    if items is not None:
        kept &= items[truth.item]
    stride = world.problem.shape[1]
    found, values = recalls(ranked_lists(lists), truth.row[kept], truth.item[kept], stride, k)
    return float(values.mean()) if len(found) else 0.0, len(found)


def chance(
    world: World, lists: Lists, users: Mask | None = None, items: Mask | None = None, k: int = K
) -> tuple[float, int]:
    """The chance that a view among `items` goes to the first `k` of a list, over `users` who are there that day."""
    truth = world.truth if items is None else world.truth * items
    rows = np.flatnonzero((truth.sum(axis=1) > 0) & (True if users is None else users))
    if not len(rows):
        return 0.0, 0
    caught = np.take_along_axis(truth[rows], lists[rows, :k], axis=1).sum(axis=1)
    return float((caught / truth[rows].sum(axis=1)).mean()), len(rows)


def _rows(
    world: World,
    group: str,
    lists: Mapping[str, Lists],
    users: Mask | None = None,
    items: Mask | None = None,
    k: int = K,
) -> list[Row]:
    found = {
        method: (recall(world, one, users, items, k), chance(world, one, users, items, k))
        for method, one in lists.items()
    }
    first = next(iter(found.values()))
    return [
        Row(group, method, *by_outcome, *by_truth, _of(by_outcome, first[0]), _of(by_truth, first[1]))
        for method, (by_outcome, by_truth) in found.items()
    ]


def _of(value: tuple[float, int], first: tuple[float, int]) -> float | None:
    return value[0] / first[0] if first[0] else None


# -- groups


def _whole(world: World, eligible: Mask | None = None) -> dict[str, Lists]:
    """Lists over the whole catalogue or, with `eligible`, over a part of it (then without retrieval's own lists)."""
    scorers = {
        ORACLE: known_scorer(world.truth),
        DAY_BEFORE: known_scorer(world.chances(world.case.ds)),
        OBSERVER: known_scorer(observed_chances(world.config, world.problem, world.states, world.case.ds)),
        TOWERS: tower_scorer(world.steps[SEARCH], world.problem),
        POPULAR: popular_scorer(world),
    }
    lists = {method: _lists(world, scorer, eligible) for method, scorer in scorers.items()}
    if eligible is None:
        lists[RETRIEVAL] = candidate_lists(world.steps[SEARCH], world.problem, None, LENGTH)
        if COMPOSE in world.steps:
            lists[FINISHED] = finished_lists(world.steps[COMPOSE], world.problem, "home", LENGTH)
    return lists


def _cold_users(world: World, lists: Mapping[str, Lists]) -> list[Row]:
    events = world.user_events
    few, none = (events > 0) & (events < COLD), events == 0
    return [
        *_rows(world, f"users with 1 to {COLD - 1} events", lists, few),
        *_rows(world, "users without an event", lists, none),
    ]


def _cold_items(world: World, lists: Mapping[str, Lists]) -> list[Row]:
    """In the whole catalogue, where few reach a list at all, and among themselves."""
    few = cold_items(world)
    return [
        *_rows(world, COLD_ITEMS, lists, items=few),
        *_rows(world, f"{COLD_ITEMS}, alone, @{ALONE}", _whole(world, few), items=few, k=ALONE),
    ]


def cold_items(world: World) -> Mask:
    """[I + 1]: what can be shown and has few events yet."""
    return (world.item_events < WARM) & world.problem.items.eligible


def _blanked(world: World, items: Scores, seed: int) -> list[Row]:
    """Warm users and items as the towers know them (`items` float32[I + 1, D]), and without their ids."""
    problem = world.problem
    users = blanking.user_matrices(world.steps, world.states)
    scorers = {name: dot_scorer(matrix, items) for name, matrix in users.items()}
    lists = {name: _lists(world, scorer) for name, scorer in scorers.items()}
    rows = _rows(
        world,
        WARM_USERS,
        lists | {POPULAR: _lists(world, popular_scorer(world))},
        world.user_events >= WARM,
    )
    warm = np.flatnonzero((world.item_events >= WARM) & problem.items.eligible)
    chosen = np.sort(np.random.default_rng(seed).choice(warm, int(len(warm) * BLANKED_SHARE), replace=False))
    mask = np.zeros(problem.shape[1], np.bool_)
    mask[chosen] = True
    blanked = items.copy()
    blanked[chosen] = blanking.item_vectors_without_id(world.steps, chosen)
    known = users[blanking.WITH_ID]
    by_item = {
        blanking.WITH_ID: _lists(world, dot_scorer(known, items)),
        blanking.WITHOUT_ID: _lists(world, dot_scorer(known, blanked)),
    }
    return rows + _rows(world, WARM_ITEMS, by_item, items=mask)


def tower_figures(world: World, seed: int) -> dict[str, float]:
    """The towers alone, of a run until `retrieve/train`: a view's chance first, then recall and the groups' chances."""
    items = blanking.item_matrix(world.steps, world.problem.items.size)
    scorer = dot_scorer(blanking.user_matrices(world.steps, world.states)[blanking.WITH_ID], items)
    few = cold_items(world)
    lists, among = _lists(world, scorer), _lists(world, scorer, few)
    kept = {row.group: row.chance_of for row in _blanked(world, items, seed) if row.method == blanking.WITHOUT_ID}
    return {
        f"chance@{K}": chance(world, lists)[0],
        f"recall@{K}": recall(world, lists)[0],
        f"users below {COLD} events": chance(world, lists, users=world.user_events < COLD)[0],
        f"items below {WARM} events, alone @{ALONE}": chance(world, among, items=few, k=ALONE)[0],
        "kept without user id": float(kept[WARM_USERS] or 0),
        "kept without item id": float(kept[WARM_ITEMS] or 0),
        "train_seconds": world.steps[blanking.TRAIN].timings["training"],
    }


def dot_scorer(users: Scores, items: Scores) -> Scorer:
    """Dot products of vectors: users float32[U, D], items float32[I + 1, D]."""
    return lambda rows: users[rows] @ items.T
