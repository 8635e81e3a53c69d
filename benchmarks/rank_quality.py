"""`python -m benchmarks.rank_quality`: the ranker beside logistic regression and LightGBM, on the marketplace.

All three learn the same pairs, features, outcomes and weights: those that `rank/train` makes of the night. Users are
divided by fold: most are learnt from, some calibrate (and stop LightGBM early), the others judge. All get the same
Platt calibration. Per task: AUC, log loss, calibration error, over the judging users' pairs, weighted to all
candidates; and NDCG@20 of the utility that the probabilities give, over judging users with an outcome, all of whose
candidates are ranked, beside retrieval order and the blend (its weight chosen on the calibrating users).

Logistic regression has what the model's inputs are: dense features normalised and clipped as the DLRM's, sparse ones as
one column a value. LightGBM has the dense features as they are and the sparse ones as categories.
Written to `work/quality/rank.json`, and `rank-calibration.png`: a picture per head.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse as sp
from sklearn.linear_model import LogisticRegression

from benchmarks.quality.marketplace import VALIDATION, planned_world
from benchmarks.quality.running import needed_steps, work_folder
from recjobs.cli.printing import log_progress, print_table
from recjobs.manifest import Inputs, load
from recjobs.plan import load_plan
from recjobs.rank.blend import blended, utility_of, utility_weights
from recjobs.rank.block import NORMAL_LIMIT, Block, FloatArray
from recjobs.rank.features import assembled, feature_spec
from recjobs.rank.train.calibrate import Platt, fit_platt, reliability, task_metrics
from recjobs.rank.train.examples import Examples
from recjobs.rank.train.fit import fit_ranker
from recjobs.rank.train.judge import choose_blend, ndcg_by_user
from recjobs.rank.train.outcomes import NEVER
from recjobs.rank.train.pipeline import all_examples, sources_of
from recjobs.rank.train.predict import logits_of
from recjobs.settings import Settings, parse_overrides
from recjobs.stages import run_step

logger = logging.getLogger("recjobs.quality")

STEP = "rank/train"
WORLD: dict[str, Any] = {
    "marketplace.users": 2500,
    "marketplace.items": 800,
    "marketplace.days": 30,
    "time.label_days": 3,
    "rank.train.judged_users": 100_000,
}
FOLDS = 1000
CALIBRATES, JUDGES = 150, 400
"""Users of the folds below the first calibrate, of those below the second judge, the others are learnt from."""
MIN_POSITIVES = 20
RETRIEVAL, DLRM, LINEAR, TREES, BLEND = "retrieval", "DLRM", "logistic regression", "LightGBM", "blend"

Labels = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """Pairs to learn from, to calibrate on, and to judge (rows of the examples); `labels` bool[P, T]."""

    settings: Settings
    examples: Examples
    items: Block
    labels: Labels
    learnt: Rows
    calibrates: Rows
    judges: Rows

    def inputs(self, rows: Rows) -> tuple[FloatArray, npt.NDArray[np.int32]]:
        """Dense and sparse features of these pairs, side by side."""
        examples = self.examples
        user, item = examples.user[rows].astype(np.int32), examples.item[rows].astype(np.int32)
        return assembled(examples.users, self.items, examples.pairs.take(rows), user, item)

    def ranked(self, of: Rows) -> Rows:
        """All pairs of the users of `of` all of whose candidates are among the examples."""
        asked = np.zeros(len(self.examples.users), np.bool_)
        asked[self.examples.user[of]] = True
        return np.flatnonzero((asked & self.examples.judged)[self.examples.user])


Predict = Callable[[Rows], FloatArray]
"""Logits [len(rows), T] of a fitted model."""


def main(arguments: Sequence[str]) -> int:
    """Runs the stages that are missing, fits, judges, prints and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rank_quality", description=__doc__)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--models", nargs="*", default=[DLRM, LINEAR, TREES])
    parser.add_argument("--name", default="rank")
    chosen = parser.parse_args(arguments)
    log_progress()
    problem = problem_of(chosen.seed, {**WORLD, **parse_overrides(chosen.set)})
    result: dict[str, Any] = {
        "pairs": len(problem.examples),
        "learnt": len(problem.learnt),
        "judged": len(problem.judges),
    }
    result["models"] = {name: judged(problem, name, chosen.seed) for name in chosen.models}
    result["ndcg_retrieval"] = retrieval_ndcg(problem)
    (work_folder() / f"{chosen.name}.json").write_text(json.dumps(_without_curves(result), indent=1))
    draw(work_folder() / f"{chosen.name}-calibration.png", result["models"], problem.settings.tasks())
    show(result, problem.settings.tasks())
    return 0


def problem_of(seed: int, overrides: Mapping[str, Any]) -> Problem:
    """The pairs that `rank/train` would learn from."""
    uri, settings = planned_world(seed, overrides, VALIDATION)
    plan = load_plan(uri)
    for name in needed_steps(plan, STEP)[:-1]:
        logger.info("rank quality: %s", name)
        run_step(uri, name)
    step = plan.steps[STEP]
    inputs = Inputs(step.ds, step.cutoffs, {name: load(given) for name, given in step.inputs.items()})
    with tempfile.TemporaryDirectory() as folder:
        examples, items = all_examples(sources_of(inputs, feature_spec(settings)), settings, folder)
    fold, weighted = examples.fold[examples.user], examples.weight > 0
    return Problem(
        settings,
        examples,
        items,
        examples.first < NEVER,
        learnt=np.flatnonzero(weighted & (fold >= JUDGES)),
        calibrates=np.flatnonzero(weighted & (fold < CALIBRATES)),
        judges=np.flatnonzero(weighted & (fold >= CALIBRATES) & (fold < JUDGES)),
    )


def judged(problem: Problem, name: str, seed: int) -> dict[str, Any]:
    """Figures of one model, by task and of its order; `curves` for the picture."""
    started = perf_counter()
    predict = MODELS[name](problem, seed)
    fitted = perf_counter() - started
    tasks, examples = problem.settings.tasks(), problem.examples
    platt = fit_platt(
        predict(problem.calibrates),
        problem.labels[problem.calibrates],
        examples.weight[problem.calibrates],
        MIN_POSITIVES,
    )
    probability = platt.apply(predict(problem.judges))
    labels, weight = problem.labels[problem.judges], examples.weight[problem.judges]
    logger.info("rank quality: %s fitted in %.0f s", name, fitted)
    return {
        "tasks": {task: task_metrics(probability[:, t], labels[:, t], weight) for t, task in enumerate(tasks)},
        "curves": {task: reliability(probability[:, t], labels[:, t], weight)[:2] for t, task in enumerate(tasks)},
        "seconds": fitted,
        **orders(problem, predict, platt),
    }


def orders(problem: Problem, predict: Predict, platt: Platt) -> dict[str, float]:
    """NDCG@20 of the model's own order and of its blend with retrieval."""
    utility = utility_weights(problem.settings)
    chosen = _order_inputs(problem, problem.ranked(problem.calibrates), predict, platt, utility)
    scores, value, gains, lengths = chosen
    weight = choose_blend(scores, value, gains, np.ones(len(gains), np.bool_), lengths).weight
    scores, value, gains, lengths = _order_inputs(problem, problem.ranked(problem.judges), predict, platt, utility)
    found = {"ndcg": 1.0, "ndcg_blend": weight}
    everything = np.ones(len(gains), np.bool_)
    return {
        name: float(ndcg_by_user(blended(scores, value, lengths, share), gains, everything, lengths).mean())
        for name, share in found.items()
    } | {"blend_weight": weight}


def retrieval_ndcg(problem: Problem) -> float:
    """NDCG@20 of retrieval order on the same users."""
    rows = problem.ranked(problem.judges)
    gains, lengths = _gains(problem, rows, utility_weights(problem.settings))
    scores = problem.examples.standard_score[rows]
    return float(ndcg_by_user(scores, gains, np.ones(len(rows), np.bool_), lengths).mean())


def _gains(problem: Problem, rows: Rows, utility: tuple[float, ...]) -> tuple[npt.NDArray[np.float64], Rows]:
    _, lengths = np.unique(problem.examples.user[rows], return_counts=True)
    gains = problem.labels[rows].astype(np.float64) @ np.asarray(utility, np.float64)
    return gains, lengths.astype(np.int64)


def _order_inputs(
    problem: Problem, rows: Rows, predict: Predict, platt: Platt, utility: tuple[float, ...]
) -> tuple[FloatArray, npt.NDArray[np.float64], npt.NDArray[np.float64], Rows]:
    value = utility_of(platt.apply(predict(rows)), utility)
    return problem.examples.standard_score[rows], value, *_gains(problem, rows, utility)


# -- the models


def fit_dlrm(problem: Problem, seed: int) -> Predict:
    """The ranker as `rank/train` makes it."""
    learnt = np.zeros(len(problem.examples), np.bool_)
    learnt[problem.learnt] = True
    model = fit_ranker(problem.examples, problem.items, learnt, problem.labels, problem.settings.rank.train, seed)
    return lambda rows: logits_of(model, problem.examples, problem.items, rows)


def fit_linear(problem: Problem, seed: int) -> Predict:
    """Logistic regression on normalised dense features and a column per sparse value."""
    del seed
    dense, sparse = problem.inputs(problem.learnt)
    mean, deviation = dense.mean(axis=0, dtype=np.float64), dense.std(axis=0, dtype=np.float64)
    varied = deviation > 1e-6 * np.maximum(1.0, np.abs(mean))
    widths = sparse.max(axis=0) + 1

    def matrix(rows: Rows) -> sp.csr_matrix:
        dense, sparse = problem.inputs(rows)
        normal = ((dense - mean) / np.where(varied, deviation, 1.0))[:, varied]
        columns = [_one_hot(sparse[:, column], int(width)) for column, width in enumerate(widths)]
        return sp.hstack([sp.csr_matrix(np.clip(normal, -NORMAL_LIMIT, NORMAL_LIMIT)), *columns], format="csr")

    learnt, weight = matrix(problem.learnt), problem.examples.weight[problem.learnt]
    weight = weight / weight.mean()
    models = [
        LogisticRegression(C=0.1, max_iter=300).fit(learnt, problem.labels[problem.learnt, task], weight)
        for task in range(problem.labels.shape[1])
    ]

    def predict(rows: Rows) -> FloatArray:
        wide = matrix(rows)
        return np.stack([model.decision_function(wide) for model in models], axis=1).astype(np.float32)

    return predict


def _one_hot(values: npt.NDArray[np.int32], width: int) -> sp.csr_matrix:
    """A column per value seen in learning; others are no column."""
    known = values < width
    rows = np.flatnonzero(known)
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, values[known])), shape=(len(values), width))


def fit_trees(problem: Problem, seed: int) -> Predict:
    """LightGBM, one model a task, stopped early on the calibrating users."""
    import lightgbm as lgb

    categories = list(range(*_sparse_columns(problem)))

    def matrix(rows: Rows) -> npt.NDArray[np.float64]:
        return np.concatenate([part.astype(np.float64) for part in problem.inputs(rows)], axis=1)

    examples, models = problem.examples, []
    settings = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": 50,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "cat_smooth": 50,
        "seed": seed,
        "verbose": -1,
        "deterministic": True,
        "num_threads": 2,
    }
    learnt, held = matrix(problem.learnt), matrix(problem.calibrates)
    for task in range(problem.labels.shape[1]):
        train, stop = (
            lgb.Dataset(wide, problem.labels[rows, task], weight=examples.weight[rows], categorical_feature=categories)
            for wide, rows in ((learnt, problem.learnt), (held, problem.calibrates))
        )
        ended = lgb.early_stopping(40, verbose=False)
        models.append(lgb.train(settings, train, 600, valid_sets=[stop], callbacks=[ended]))

    def predict(rows: Rows) -> FloatArray:
        wide = matrix(rows)
        return np.stack([model.predict(wide, raw_score=True) for model in models], axis=1).astype(np.float32)

    return predict


def _sparse_columns(problem: Problem) -> tuple[int, int]:
    dense, sparse = problem.inputs(problem.learnt[:1])
    return dense.shape[1], dense.shape[1] + sparse.shape[1]


MODELS: dict[str, Callable[[Problem, int], Predict]] = {DLRM: fit_dlrm, LINEAR: fit_linear, TREES: fit_trees}


# -- telling


def show(result: Mapping[str, Any], tasks: tuple[str, ...]) -> None:
    """Prints two tables."""
    rows = [
        [task, name, figures["auc"], figures["log_loss"], figures["calibration_error"], figures["positives"]]
        for task in tasks
        for name, model in result["models"].items()
        for figures in (model["tasks"][task],)
    ]
    print_table("marketplace, per task", ["task", "model", "AUC", "log loss", "calibration error", "outcomes"], rows)
    order = [[RETRIEVAL, result["ndcg_retrieval"], None, None, None]]
    order += [
        [name, model["ndcg"], model["ndcg_blend"], model["blend_weight"], model["seconds"]]
        for name, model in result["models"].items()
    ]
    print_table("marketplace, NDCG@20", ["order by", "alone", BLEND, "weight", "seconds"], order)


def _without_curves(result: dict[str, Any]) -> dict[str, Any]:
    models = {name: {k: v for k, v in model.items() if k != "curves"} for name, model in result["models"].items()}
    return {**result, "models": models}


def draw(target: Path, models: Mapping[str, Any], tasks: tuple[str, ...]) -> None:
    """A panel per head: observed rate against predicted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.0 * len(tasks), 4.0), layout="constrained")
    for number, task in enumerate(tasks):
        axes = figure.add_subplot(1, len(tasks), number + 1)
        tops = [1e-3]
        for name, model in models.items():
            predicted, observed = model["curves"][task]
            axes.plot(predicted, observed, marker="o", markersize=3, label=name)
            tops += [*predicted, *observed]
        top = 1.05 * max(tops)
        axes.plot([0, top], [0, top], color="grey", linewidth=1)
        axes.set(title=task, xlabel="predicted probability", ylabel="observed rate")
    axes.legend()
    figure.savefig(target, dpi=120)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
