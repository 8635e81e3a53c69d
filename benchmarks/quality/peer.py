"""The simple peer of the ranker: LightGBM over the same candidates with some twenty plain features.

Trained on the same weeks before as the ranker. Its features are worked out here, from events and from the baselines'
scores; it shares no code with `recjobs/rank`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy import sparse

from benchmarks.quality.baselines import BASELINES
from benchmarks.quality.baselines.repeat import own_items
from benchmarks.quality.cases import Case, DataSet
from benchmarks.quality.ours import CANDIDATES, flat_candidates, packed
from benchmarks.quality.problem import SECONDS_A_DAY, Ints, Problem, counted, load_problem
from benchmarks.quality.ranking import USERS_AT_ONCE, Lists
from benchmarks.quality.tuning import chosen_parameters
from recjobs.flow import MOST_WINDOWS, earlier_input
from recjobs.manifest import Manifest, load
from recjobs.settings import Settings

logger = logging.getLogger("recjobs.quality")

SCORERS = ("ease", "sequence_knn", "ials")
WINDOWS = (7, 28)
ROUNDS = 100
PARAMETERS: Mapping[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.06,
    "num_leaves": 15,
    "max_bin": 63,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "verbose": -1,
    "deterministic": True,
}
"""Chosen in a trial with more features on the week after 2011-08-22, trained on the two weeks before it: NDCG .3578;
with 31 leaves and 150 rounds .3537, by `rank_xendcg` .3550."""
_NEVER = 999.0

Columns = dict[str, npt.NDArray[np.floating]]


@dataclass(frozen=True)
class Week:
    """The candidates of one date: `row` and `item` of each, its features, and whether it was an outcome."""

    row: Ints
    item: Ints
    names: tuple[str, ...]
    features: npt.NDArray[np.float32]
    outcome: npt.NDArray[np.bool_]


def peer_lists(
    data_set: DataSet, settings: Settings, problem: Problem, steps: Mapping[str, Manifest], seed: int, length: int
) -> Lists:
    """The candidates of `retrieve/search` in the order of the peer that was trained on the ranker's weeks."""
    learnt = [
        _learnt(week_of(data_set, load_problem(extract, settings, _case(extract)), search, seed))
        for extract, search in weeks_before(steps["rank/train"])
    ]
    model = fit([features for features, _ in learnt], [outcome for _, outcome in learnt], seed)
    week = week_of(data_set, problem, steps["retrieve/search"], seed)
    score = model.predict(week.features)
    order = np.lexsort((week.item, -np.asarray(score), week.row))
    return packed(week.row[order], week.item[order].astype(np.int32), problem.shape, None, length)


def weeks_before(ranker: Manifest) -> list[tuple[Manifest, Manifest]]:
    """Extract and candidates of each window that the ranker learnt from."""
    names = [[earlier_input(stage, n) for stage in ("extract", "retrieve/search")] for n in range(1, MOST_WINDOWS + 1)]
    pinned = [[ranker.inputs[name].uri for name in pair] for pair in names if pair[0] in ranker.inputs]
    return [(load(extract), load(search)) for extract, search in pinned]


def fit(features: Sequence[npt.NDArray[np.float32]], outcomes: Sequence[npt.NDArray[np.bool_]], seed: int) -> Any:
    """The model trained on all weeks."""
    data = lightgbm.Dataset(np.concatenate(features), np.concatenate(outcomes).astype(np.float32))
    return lightgbm.train({**PARAMETERS, "seed": seed}, data, ROUNDS)


def _case(extract: Manifest) -> Case:
    return Case(str(extract.ds), "before", extract.ds, extract.cutoffs.label_days)


def _learnt(week: Week) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Of the users with an outcome: who buys nothing says nothing of the order."""
    buyers = np.isin(week.row, np.unique(week.row[week.outcome]))
    return week.features[buyers], week.outcome[buyers]


# -- features


def week_of(data_set: DataSet, problem: Problem, search: Manifest, seed: int) -> Week:
    """The candidates of `search` as the peer sees them on the date of `problem`."""
    row, item = candidates_of(search)
    keys = row * problem.shape[1] + item
    columns = {**_scores(data_set, problem, row, item, seed), **_own(problem, row, item), **_of_items(problem, item)}
    columns |= _of_users(problem, row)
    outcome = np.isin(keys, problem.truth.row * problem.shape[1] + problem.truth.item)
    logger.info("peer, %s: %d pairs, %d features", problem.name, len(row), len(columns))
    return Week(row, item, tuple(columns), np.stack(list(columns.values()), axis=1).astype(np.float32), outcome)


def candidates_of(search: Manifest) -> tuple[Ints, Ints]:
    """Row and item of every candidate, by row, best retrieved first."""
    tables = [pq.read_table(part.uri) for part in search.parts(CANDIDATES)]
    first = np.cumsum([0, *(table.num_rows for table in tables)])
    parts = [flat_candidates(table, None) for table in tables]
    rows = np.concatenate([part[0] + start for part, start in zip(parts, first, strict=False)])
    return rows.astype(np.int64), np.concatenate([part[1] for part in parts]).astype(np.int64)


def _scores(data_set: DataSet, problem: Problem, row: Ints, item: Ints, seed: int) -> Columns:
    """Score and rank by each baseline, and the rank in retrieval."""
    found: Columns = {"retrieval_rank": _places(row)}
    for name in SCORERS:
        scorer = BASELINES[name](problem, chosen_parameters(data_set.name, name), seed)
        score = np.empty(len(row), np.float32)
        for start in range(0, problem.shape[0], USERS_AT_ONCE):
            users = slice(start, min(start + USERS_AT_ONCE, problem.shape[0]))
            pairs = slice(*np.searchsorted(row, [users.start, users.stop]))
            score[pairs] = scorer(users)[row[pairs] - start, item[pairs]]
        found |= {name: score, f"{name}_rank": _ranks(row, score)}
    return found


def _places(row: Ints) -> npt.NDArray[np.float64]:
    starts = np.searchsorted(row, row)
    return (np.arange(len(row)) - starts).astype(np.float64)


def _ranks(row: Ints, score: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    ranks = np.empty(len(row))
    ranks[np.lexsort((-score, row))] = _places(row)
    return ranks


def _own(problem: Problem, row: Ints, item: Ints) -> Columns:
    """What the user did with the item."""
    events = problem.history
    age = (problem.now - events.time) / SECONDS_A_DAY
    counts = counted(events.user, events.item, None, problem.shape)
    # Stored from 1, so that an item that was never had reads 0.
    last = sparse.csr_matrix(_latest(problem, events.time / SECONDS_A_DAY))
    since, count = _at(last, row, item), _at(counts, row, item)
    return {
        "count": count,
        "count_decayed": _at(own_items(problem, 30.0), row, item),
        "days_since": np.where(since > 0, problem.now / SECONDS_A_DAY - since, _NEVER),
        "share_of_events": _at(counts, row, item)
        / np.maximum(np.bincount(events.user, minlength=problem.shape[0]), 1)[row],
        "user_idle": _smallest(events.user, age, problem.shape[0])[row],
    }


def _latest(problem: Problem, days: npt.NDArray[np.float64]) -> sparse.coo_matrix:
    """The day of each (user, item)'s last event: events stand by time, and the last of a pair is kept."""
    events = problem.history
    keys = events.user.astype(np.int64) * problem.shape[1] + events.item
    last, index = np.unique(keys[::-1], return_index=True)
    return sparse.coo_matrix((days[::-1][index], np.divmod(last, problem.shape[1])), problem.shape)


def _smallest(group: npt.NDArray[np.integer], value: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    found = np.full(size, _NEVER)
    np.minimum.at(found, group, value)
    return found


def _of_items(problem: Problem, item: Ints) -> Columns:
    """Popularity, age and idleness."""
    events, size = problem.history, problem.shape[1]
    age = (problem.now - events.time) / SECONDS_A_DAY
    popular = {f"popularity_{days}d": np.bincount(events.item[age < days], minlength=size)[item] for days in WINDOWS}
    oldest = -_smallest(events.item, -age, size)
    return {
        **{name: values.astype(np.float64) for name, values in popular.items()},
        "popularity": np.bincount(events.item, minlength=size)[item].astype(np.float64),
        "item_age": oldest[item],
        "item_idle": _smallest(events.item, age, size)[item],
    }


def _of_users(problem: Problem, row: Ints) -> Columns:
    """Size of the history, in events, items and days."""
    events, size = problem.history, problem.shape[0]
    day = np.unique(np.stack([events.user, events.time // SECONDS_A_DAY]), axis=1)
    return {
        "history_events": np.bincount(events.user, minlength=size)[row].astype(np.float64),
        "history_items": np.diff(problem.known.indptr)[row].astype(np.float64),
        "history_days": np.bincount(day[0].astype(np.int64), minlength=size)[row].astype(np.float64),
    }


def _at(matrix: Any, row: Ints, item: Ints) -> npt.NDArray[np.float64]:
    return np.asarray(matrix.tocsr()[row, item], np.float64).ravel()
