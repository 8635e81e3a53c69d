"""Measures every row of a data set: baselines and ours, on the same problem, for each case and seed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.quality.baselines import BASELINES, SEEDED
from benchmarks.quality.cache import remembered
from benchmarks.quality.cases import Case, DataSet
from benchmarks.quality.figures import Figures, figures
from benchmarks.quality.ours import FINISHED, RETRIEVAL, TOWERS, candidate_lists, finished_lists, tower_lists
from benchmarks.quality.peer import peer_lists
from benchmarks.quality.problem import Problem, load_problem
from benchmarks.quality.ranking import Lists, best_lists
from benchmarks.quality.running import COMPOSE, SEARCH, run_case, settings_of
from benchmarks.quality.tuning import chosen_parameters
from recjobs.manifest import Manifest

logger = logging.getLogger("recjobs.quality")

PEER = "LightGBM peer"
EXTRACT, TRAIN = "extract", "retrieve/train"
LENGTH = 200
"""Of every list: long enough that 100 and more are left without the items a user had."""
SURFACE = "home"


@dataclass(frozen=True)
class Asked:
    """What a run of the benchmark measures."""

    seeds: tuple[int, ...] = (17, 18, 19)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    until: str = SEARCH
    baselines: tuple[str, ...] | None = None
    """None: all of the data set's."""
    ours: bool = True
    peer: bool = True
    """Whether the ranker's simple peer stands beside finished lists, where lists may hold earlier items."""


@dataclass(frozen=True)
class Measured:
    """One row for one seed."""

    case: Case
    method: str
    seed: int
    figures: Figures


def measured(data_set: DataSet, cases: Sequence[Case], asked: Asked) -> Iterator[Measured]:
    """Every row of `cases`, baselines first."""
    for case in cases:
        extract = run_case(data_set, case, asked.seeds[0], asked.overrides, EXTRACT)[EXTRACT]
        problem = load_problem(extract, settings_of(data_set, case, asked.seeds[0], asked.overrides), case)
        baselines = data_set.baselines if asked.baselines is None else asked.baselines
        for baseline in baselines:
            for seed in asked.seeds if baseline in SEEDED else asked.seeds[:1]:
                yield Measured(case, baseline, seed, baseline_figures(data_set, problem, baseline, seed))
        for seed in asked.seeds if asked.ours else ():
            yield from our_figures(data_set, case, seed, asked)


def baseline_figures(data_set: DataSet, problem: Problem, baseline: str, seed: int) -> Figures:
    """The figures of one baseline with its chosen parameters."""
    parameters = chosen_parameters(data_set.name, baseline)

    def make() -> Figures:
        started = time.perf_counter()
        scorer = BASELINES[baseline](problem, parameters, seed)
        barred = _barred(data_set, problem)
        lists = best_lists(scorer, problem.shape[0], problem.items.eligible, barred, LENGTH)
        logger.info("%s, %s: %.0f s", data_set.name, baseline, time.perf_counter() - started)
        return _figures(data_set, problem, lists)

    return remembered([problem.name, baseline, parameters, seed, data_set.at, data_set.own_items], make)


def our_figures(data_set: DataSet, case: Case, seed: int, asked: Asked) -> Iterator[Measured]:
    """The figures of our lists for one seed: towers alone, retrieval, and if asked for finished lists and the peer."""
    steps = run_case(data_set, case, seed, asked.overrides, asked.until)
    problem = load_problem(steps[EXTRACT], settings_of(data_set, case, seed, asked.overrides), case)
    cost = {("train_seconds", 0): steps[TRAIN].timings["training"]}
    for method, lists in _our_lists(data_set, problem, steps).items():
        yield Measured(case, method, seed, _figures(data_set, problem, lists) | cost)
    if COMPOSE in steps and asked.peer and data_set.own_items:
        settings = settings_of(data_set, case, seed, asked.overrides)
        lists = peer_lists(data_set, settings, problem, steps, seed, LENGTH)
        yield Measured(case, PEER, seed, _figures(data_set, problem, lists))


def _our_lists(data_set: DataSet, problem: Problem, steps: Mapping[str, Manifest]) -> dict[str, Lists]:
    barred = _barred(data_set, problem)
    made = {
        TOWERS: tower_lists(steps[SEARCH], problem, barred, LENGTH),
        RETRIEVAL: candidate_lists(steps[SEARCH], problem, barred, LENGTH),
    }
    return made | ({FINISHED: finished_lists(steps[COMPOSE], problem, SURFACE, LENGTH)} if COMPOSE in steps else {})


def _barred(data_set: DataSet, problem: Problem) -> Any:
    return None if data_set.own_items else problem.known


def _figures(data_set: DataSet, problem: Problem, lists: Lists) -> Figures:
    return figures(lists, problem, data_set.at, new_items=data_set.own_items)
