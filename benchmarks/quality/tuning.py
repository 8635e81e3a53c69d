"""Chooses the baselines' parameters on the validation cases alone, one grid each, and writes them down.

`python -m benchmarks.quality --tune` writes `parameters.json` beside this file: by data set and baseline the chosen
values, and every value that was tried with what it reached. `make quality` only reads it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.baselines import BASELINES
from benchmarks.quality.cache import remembered
from benchmarks.quality.cases import DataSet
from benchmarks.quality.figures import Figures, figures
from benchmarks.quality.problem import Problem
from benchmarks.quality.ranking import best_lists

logger = logging.getLogger("recjobs.quality")

CHOSEN = Path(__file__).with_name("parameters.json")
SEED = 17
Parameters = Mapping[str, Any]

GRIDS: dict[str, dict[str, list[Any]]] = {
    "popularity": {"days": [7, 28, 90, None]},
    "repeat": {"half_life_days": [15, 30, 60, 120, None]},
    "ease": {"l2": [100.0, 200.0, 400.0]},
    "ials": {"factors": [128], "regularization": [1.0], "alpha": [20.0, 40.0, 100.0], "iterations": [15]},
    "sequence_knn": {
        "window": [20],
        "pair_half_life_days": [3],
        "backward": [0.3, 0.5],
        "from_power": [0.3, 0.5],
        "to_power": [0.1, 0.2],
        "half_life_days": [1.5, 2, 3],
    },
    "ease_repeat": {"l2": [200.0], "half_life_days": [60], "repeat_share": [0.2, 0.4, 0.6, 0.8]},
}
"""Every combination is tried, unless a data set has a grid of its own."""

OWN_GRIDS: dict[str, dict[str, dict[str, list[Any]]]] = {
    # An import without times: its days are places in the sequence, counted from the end.
    "beauty": {"popularity": {"days": [None]}},
    "online-retail": {
        "ease": {"l2": [50.0, 100.0, 200.0, 400.0, 800.0]},
        "ials": {"factors": [64, 128], "regularization": [1.0], "alpha": [0.3, 1.0, 10.0], "iterations": [15]},
        "sequence_knn": {
            "window": [50],
            "pair_half_life_days": [7, 30],
            "backward": [0.5, 1.0],
            "from_power": [0.5],
            "to_power": [0.1, 0.3, 0.5],
            "half_life_days": [30, 90],
        },
        "ease_repeat": {
            "l2": [100.0, 400.0],
            "half_life_days": [30, 60, 120],
            "repeat_share": [0.1, 0.2, 0.35, 0.5, 0.7],
        },
    },
}


def chosen_parameters(data_set: str, baseline: str) -> dict[str, Any]:
    """What `tune` chose for a baseline."""
    chosen: dict[str, Any] = json.loads(CHOSEN.read_text())[data_set][baseline]["chosen"]
    return chosen


def tune(data_set: DataSet, problems: Sequence[Problem], baselines: Sequence[str]) -> None:
    """Tries the grids of `baselines` on the validation `problems` and stores the best by `data_set.chosen_by`."""
    for baseline in baselines:
        tried = [(dict(one), _reached(data_set, baseline, one, problems)) for one in grid(data_set.name, baseline)]
        best = max(tried, key=lambda pair: pair[1])
        logger.info("%s, %s: %s reaches %.4f", data_set.name, baseline, best[0], best[1])
        _store(data_set, baseline, {"chosen": best[0], "tried": tried})


def grid(data_set: str, baseline: str) -> Iterator[Parameters]:
    """Every combination of the grid's values."""
    values = OWN_GRIDS.get(data_set, {}).get(baseline, GRIDS[baseline])
    for combination in product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def _reached(data_set: DataSet, baseline: str, parameters: Parameters, problems: Sequence[Problem]) -> float:
    found = [_figure(data_set, baseline, parameters, problem) for problem in problems]
    logger.info("%s, %s %s: %.4f", data_set.name, baseline, dict(parameters), np.mean(found))
    return round(float(np.mean(found)), 5)


def _figure(data_set: DataSet, baseline: str, parameters: Parameters, problem: Problem) -> float:
    def make() -> Figures:
        scorer = BASELINES[baseline](problem, parameters, SEED)
        barred = None if data_set.own_items else problem.known
        lists = best_lists(scorer, problem.shape[0], problem.items.eligible, barred, max(data_set.at))
        return figures(lists, problem, data_set.at, new_items=False)

    return remembered(["tune", problem.name, baseline, parameters, data_set.at], make)[data_set.chosen_by]


def _store(data_set: DataSet, baseline: str, found: dict[str, Any]) -> None:
    stored = json.loads(CHOSEN.read_text()) if CHOSEN.is_file() else {}
    measure, k = data_set.chosen_by
    found = {"maximises": f"{measure}@{k} on {', '.join(case.name for case in data_set.validation)}", **found}
    stored.setdefault(data_set.name, {})[baseline] = found
    CHOSEN.write_text(_readable(stored))


def _readable(stored: dict[str, Any]) -> str:
    """JSON with a line for each try."""
    text = json.dumps(stored, indent=1)
    for by_baseline in stored.values():
        for found in by_baseline.values():
            for one in (found["chosen"], *found["tried"]):
                for depth in (3, 4):
                    text = text.replace(_indented(one, depth), json.dumps(one))
    return text + "\n"


def _indented(value: Any, depth: int) -> str:
    return json.dumps(value, indent=1).replace("\n", "\n" + " " * depth)
