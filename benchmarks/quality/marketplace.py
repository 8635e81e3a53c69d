"""Retrieval on the generated marketplace, whose tastes are known: what of the best possible recall it reaches.

The oracle ranks by the true chance of a view on the day that is judged. Beside it stand the towers alone,
retrieval, and what is popular in the user's country; apart for users and items with few events or none. Last,
warm users and items are judged once more with their id blanked, as if they had never been seen.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.quality import blanking
from benchmarks.quality.cases import Case
from benchmarks.quality.figures import ranked_lists, recalls
from benchmarks.quality.ours import RETRIEVAL, TOWERS, candidate_lists, item_matrix, tower_scorer
from benchmarks.quality.problem import Problem, counted, load_problem
from benchmarks.quality.ranking import Lists, Scorer, Scores, best_lists
from benchmarks.quality.running import SEARCH, needed_steps, trained_in_full, work_folder
from recjobs import columns as c
from recjobs.cli.printing import print_table
from recjobs.manifest import Manifest, load
from recjobs.plan import load_plan, plan_run
from recjobs.settings import Settings, load_settings
from recjobs.sources.marketplace.generation import generate
from recjobs.sources.marketplace.preference import true_preference
from recjobs.stages import run_step

logger = logging.getLogger("recjobs.quality")

DS = date(2026, 6, 30)
CASE = Case("next day", "marketplace", DS, 1)
SIZE = {"marketplace.users": 2000, "marketplace.items": 800, "marketplace.days": 40}
"""Small enough for a few minutes on 2 cores; `--set marketplace.users=…` makes it larger."""
K, LENGTH = 20, 200
COLD, WARM = 5, 20
"""Fewer events than the first: cold. As many as the second, or more: warm."""
BLANKED_SHARE = 0.2
"""Of the warm items: so few that the others keep their company."""
ORACLE, POPULAR = "oracle", "popular in country"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """Recall at 20 of one method for one group; `users` of them had an outcome."""

    group: str
    method: str
    recall: float
    users: int
    of: float | None = None
    """Share of the recall of the group's first method."""


@dataclass(frozen=True)
class World:
    """The run that is judged."""

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


def main(seed: int, overrides: Mapping[str, Any]) -> None:
    """Generates, runs the stages, judges, and writes `marketplace.json` and `.png` below work/quality."""
    from benchmarks.quality.marketplace_picture import draw

    rows = measure(seed, overrides)
    target = work_folder() / "marketplace.json"
    target.write_text(json.dumps([row.__dict__ for row in rows], indent=1))
    draw(work_folder() / "marketplace.png", rows)
    cells = [[row.group, row.method, row.recall, row.of, row.users] for row in rows]
    print_table(
        f"marketplace: recall@{K} on the next day ({target})", ["", "list", "recall", "of first", "users"], cells
    )


def measure(seed: int, overrides: Mapping[str, Any]) -> list[Row]:
    """All groups' rows."""
    started = time.perf_counter()
    world = run_world(seed, overrides)
    rows = [*_everybody(world), *_cold_users(world), *_cold_items(world), *_blanked(world, seed)]
    logger.info("marketplace: %.0f s", time.perf_counter() - started)
    return rows


def run_world(seed: int, overrides: Mapping[str, Any]) -> World:
    """Generates the marketplace until the day after `DS` and runs the stages up to retrieval."""
    values = {**SIZE, **overrides}
    sizes = "-".join(str(value) for name, value in values.items() if name.startswith("marketplace."))
    folder = work_folder() / "marketplace" / f"{sizes}-{seed}"
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
    uri = plan_run("marketplace", DS, values)
    plan = load_plan(uri)
    steps = {}
    for step in needed_steps(plan, SEARCH):
        logger.info("marketplace: %s", step)
        steps[step] = load(run_step(uri, step))
    states = pl.concat([pl.read_parquet(part.uri) for part in steps["extract"].parts("users")])
    return World(settings, load_problem(steps["extract"], settings, CASE), steps, states)


# -- lists


def oracle_scorer(world: World) -> Scorer:
    """The true chances of a view on the day that is judged."""
    problem, config = world.problem, world.settings.marketplace
    assert config is not None
    items = problem.items.item_id[1:].to_list()

    def scores(rows: slice) -> Scores:
        truth = true_preference(config, problem.users[rows].to_list(), items, CASE.until)
        return np.pad(truth, ((0, 0), (1, 0)))

    return scores


def popular_scorer(world: World) -> Scorer:
    """Events in the user's country; where none, or no country is known, everybody's."""
    problem, events = world.problem, world.problem.trained
    country = world.states[c.COUNTRY].fill_null("").cast(pl.Categorical).to_physical().to_numpy().astype(np.int64)
    shape = (int(country.max()) + 1, problem.shape[1])
    by_country = counted(country[events.user], events.item, None, shape).toarray()
    total = by_country.sum(axis=0)
    weighted = (by_country + 1e-3 * total / max(total.max(), 1)).astype(np.float32)

    def scores(rows: slice) -> Scores:
        return weighted[country[rows]]

    return scores


def _lists(world: World, scorer: Scorer, eligible: Mask | None = None) -> Lists:
    shown = world.problem.items.eligible if eligible is None else eligible
    return best_lists(scorer, world.problem.shape[0], shown, None, LENGTH)


def recall(world: World, lists: Lists, users: Mask | None = None, items: Mask | None = None) -> tuple[float, int]:
    """Recall at K over the users among `users` with an outcome among `items`, and how many they are."""
    truth = world.problem.truth
    kept = np.ones(len(truth.row), np.bool_)
    if users is not None:
        kept &= users[truth.row]
    if items is not None:
        kept &= items[truth.item]
    stride = world.problem.shape[1]
    judged, values = recalls(ranked_lists(lists), truth.row[kept], truth.item[kept], stride, K)
    return float(values.mean()) if len(judged) else 0.0, len(judged)


def _rows(
    world: World, group: str, lists: Mapping[str, Lists], users: Mask | None = None, items: Mask | None = None
) -> list[Row]:
    found = {method: recall(world, one, users, items) for method, one in lists.items()}
    first = next(iter(found.values()))[0]
    return [
        Row(group, method, value, count, value / first if first else None) for method, (value, count) in found.items()
    ]


# -- groups


def _everybody(world: World) -> list[Row]:
    return _rows(world, "all users", _whole(world))


def _whole(world: World, eligible: Mask | None = None) -> dict[str, Lists]:
    """Lists over the whole catalogue or, with `eligible`, over a part of it (then without retrieval's own lists)."""
    scorers = {
        ORACLE: oracle_scorer(world),
        TOWERS: tower_scorer(world.steps[SEARCH], world.problem),
        POPULAR: popular_scorer(world),
    }
    lists = {method: _lists(world, scorer, eligible) for method, scorer in scorers.items()}
    if eligible is None:
        lists[RETRIEVAL] = candidate_lists(world.steps[SEARCH], world.problem, None, LENGTH)
    return lists


def _cold_users(world: World) -> list[Row]:
    events, lists = world.user_events, _whole(world)
    few, none = (events > 0) & (events < COLD), events == 0
    return [
        *_rows(world, f"users with 1 to {COLD - 1} events", lists, few),
        *_rows(world, "users without an event", lists, none),
    ]


def _cold_items(world: World) -> list[Row]:
    """In the whole catalogue, where few reach a list at all, and among themselves."""
    events, lists = world.item_events, _whole(world)
    eligible = world.problem.items.eligible
    few, none = (events < COLD) & eligible, (events == 0) & eligible
    rows = _rows(world, f"items with less than {COLD} events", lists, items=few)
    for group, mask in (
        (f"items with less than {COLD} events, ranked alone", few),
        ("items without an event, ranked alone", none),
    ):
        rows += _rows(world, group, _whole(world, mask), items=mask)
    return rows


def _blanked(world: World, seed: int) -> list[Row]:
    """Warm users and items as the towers know them, and without their ids."""
    problem, search = world.problem, world.steps[SEARCH]
    items = item_matrix(search, problem.shape[1])
    users = blanking.user_matrices(world.steps, world.states)
    scorers = {name: dot_scorer(matrix, items) for name, matrix in users.items()}
    lists = {name: _lists(world, scorer) for name, scorer in scorers.items()}
    rows = _rows(
        world,
        f"users with {WARM} events and more",
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
    return rows + _rows(world, f"a fifth of the items with {WARM} events and more", by_item, items=mask)


def dot_scorer(users: Scores, items: Scores) -> Scorer:
    """Dot products of vectors: users float32[U, D], items float32[I + 1, D]."""
    return lambda rows: users[rows] @ items.T
