"""`rank/train`: trains the ranker on earlier candidates and the outcomes that followed them.

Candidates, user and item states are those of `ds - n × label_days`, n from 1 to `rank.train.label_windows` where
earlier runs have made them; outcomes are tonight's canonical events of the `label_days` after each of these dates,
none later than `train_until`. A trial model that has not seen the latest outcomes says whether ranking beats
retrieval order, and by which blend; then the model that is saved learns from everything.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from recjobs import storage
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.rank.blend import utility_weights
from recjobs.rank.block import Block
from recjobs.rank.dlrm import weights_of
from recjobs.rank.features import FeatureSpec, feature_spec
from recjobs.rank.ranker import About, Ranker, save_ranker
from recjobs.rank.saved_model import RankerModule, save_module
from recjobs.rank.train.calibrate import recentred
from recjobs.rank.train.checks import beats_retrieval
from recjobs.rank.train.examples import Examples
from recjobs.rank.train.fit import fit_ranker
from recjobs.rank.train.judge import NDCG_AT, Verdict
from recjobs.rank.train.outcomes import NEVER
from recjobs.rank.train.pipeline import all_examples, sources_of
from recjobs.rank.train.plots import calibration_plot
from recjobs.rank.train.predict import logits_of
from recjobs.rank.train.split import Split, split_examples
from recjobs.rank.train.trial import Calibrated, calibrate_trial, judge_trial
from recjobs.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """The final ranker with what the trial said of it."""

    ranker: Ranker
    module: RankerModule
    """The same, as TensorFlow saves it."""
    calibrated: Calibrated
    verdict: Verdict
    notes: tuple[str, ...]


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Writes `ranker.npz`, `ranker.json`, `ranker/`, `metrics.json` and `calibration.png`."""
    started = perf_counter()
    spec = feature_spec(config)
    windows = sources_of(inputs, spec)
    examples, items = all_examples(windows, config, out.uri("examples"))
    built = perf_counter()
    positives = int((examples.earliest < NEVER).sum())
    log.info(
        "rank/train: %d pairs of %d users, %d with an outcome, built in %.1f s, %.0f pairs/s",
        len(examples), len(examples.users), positives, built - started, len(examples) / (built - started),
    )  # fmt: skip
    trained = train(examples, items, spec, config)
    save_ranker(trained.ranker, out.folder)
    save_module(trained.module, out.folder)
    metrics = _metrics(trained, config.tasks())
    storage.write_bytes(out.uri("metrics.json"), json.dumps(metrics, indent=1).encode())
    storage.write_bytes(out.uri("calibration.png"), calibration_plot(trained.calibrated, config.tasks()))
    return out.manifest(
        rows={"windows": len(windows), "pairs": len(examples), "users": len(examples.users), "positives": positives},
        metrics=_flat(metrics),
        checks=[beats_retrieval(trained.verdict)],
        timings={"examples": built - started, "train": perf_counter() - built},
        notes=trained.notes,
    )


def train(examples: Examples, items: Block, spec: FeatureSpec, config: Settings) -> Trained:
    """The ranker learnt from `examples`: a trial chooses blend and calibration, then all examples are learnt from."""
    settings, utility = config.rank.train, utility_weights(config)
    split = split_examples(examples, settings.held_out_share)
    trial = fit_ranker(examples, items, split.learnt, split.labels, settings, config.seed)
    calibrated = calibrate_trial(trial, examples, items, split, settings)
    notes = [split.describe()]
    if shortage := _shortage(examples, split, settings.min_positives):
        verdict = Verdict(0.0, {}, 0, 0.0, 0.0)
        notes = [shortage]
    else:
        verdict = judge_trial(trial, calibrated.platt, examples, items, split, utility)
    log.info("rank/train: blend weight %.1f, NDCG %s", verdict.weight, verdict.ndcg)
    happened, learnt = examples.first < NEVER, np.flatnonzero(examples.weight > 0)
    model = fit_ranker(examples, items, examples.weight > 0, happened, settings, config.seed)
    level = learnt[examples.latest[learnt]]
    platt = recentred(
        calibrated.platt, logits_of(model, examples, items, level), happened[level], examples.weight[level]
    )
    layouts = {"user": examples.users.layout, "item": items.layout, "pair": examples.pairs.layout}
    about = About(config.tasks(), utility, verdict.weight, spec, layouts)
    ranker = Ranker(weights_of(model, platt.slope, platt.intercept), about)
    module = RankerModule(model, layouts, platt.slope, platt.intercept)
    return Trained(ranker, module, calibrated, verdict, tuple(notes))


def _shortage(examples: Examples, split: Split, minimum: int) -> str | None:
    """Why the blend can't be judged, or None."""
    learnt = int((split.labels.any(axis=1) & split.learnt).sum())
    judged = int((split.judged_labels.any(axis=1) & split.judges).sum())
    if min(learnt, judged) >= minimum:
        return None
    outcomes = int((examples.earliest < NEVER).sum())
    return (
        f"{outcomes} candidates had an outcome, {learnt} to learn from and {judged} to judge by; fewer than "
        f"rank.train.min_positives = {minimum} in either part: lists keep retrieval order"
    )


def _metrics(trained: Trained, tasks: tuple[str, ...]) -> dict[str, Any]:
    verdict = trained.verdict
    return {
        "tasks": trained.calibrated.metrics(tasks),
        "ndcg_at": NDCG_AT,
        "judged_users": verdict.users,
        "ndcg_by_weight": {str(weight): value for weight, value in verdict.ndcg.items()},
        "ndcg": {
            "retrieval": verdict.ndcg.get(0.0),
            "ranker": verdict.ndcg.get(1.0),
            "blend": verdict.ndcg.get(verdict.weight),
        },
        "gain": verdict.gain,
        "gain_error": verdict.gain_error,
        "blend_weight": verdict.weight,
    }


def _flat(metrics: dict[str, Any]) -> dict[str, float]:
    """The manifest's metrics: numbers only, by task and list."""
    flat: dict[str, float | None] = {"blend_weight": metrics["blend_weight"]}
    for task, values in metrics["tasks"].items():
        flat |= {f"{name}_{task}": values[name] for name in ("auc", "log_loss", "calibration_error")}
    flat |= {f"ndcg_{name}": value for name, value in metrics["ndcg"].items()}
    return {name: float(value) for name, value in flat.items() if value is not None and np.isfinite(value)}
