"""`retrieve/train`: the two towers, trained on what users did next."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict

from recjobs import storage
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.retrieve.train import warm
from recjobs.retrieve.train.blueprint import Blueprint, blueprint
from recjobs.retrieve.train.checks import training_checks
from recjobs.retrieve.train.curves import write_curves
from recjobs.retrieve.train.devices import strategy_of
from recjobs.retrieve.train.export import export
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.sequences import TrainingData, sequence_files
from recjobs.retrieve.train.start import start_from
from recjobs.retrieve.train.tensorboard import board
from recjobs.retrieve.train.training import Task, Trained, train
from recjobs.settings import Settings

log = logging.getLogger(__name__)


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Trains the towers on `extract`'s sequences and writes them, a checkpoint and the curves.

    Goes on from `previous/retrieve/train` where it is pinned, else trains in full. Reproducible for a seed, a machine
    type and a thread count, also where an attempt that was killed is gone on with.

    Raises:
        ModelError: nothing to learn from or to validate on, or the loss or a vector is not finite; or the earlier
            towers were made with settings that give other towers.
        CorruptFileError: a sequence file or the earlier checkpoint can't be read.
    """
    extract = inputs["extract"]
    plan = blueprint(extract, config, inputs.cutoffs.train_until)
    with storage.local_folder(extract.uri("sequences")) as folder, strategy_of().scope():
        start = warm.begin(plan.towers, inputs, config)
        with start.course(sequence_files(folder), config.seed) as course:
            data = TrainingData(course.files, course.settings, config.seed, plan.known.columns)
            trained = _train(_task(plan, start, data, config.seed), inputs, out)
    exported = time.perf_counter()
    export(trained.model, trained.optimizer, plan.features.items, out)
    write_curves(trained.curves, out)
    _describe(plan, config, out)
    return out.manifest(
        rows=_rows(trained, data, plan),
        metrics=_metrics(trained) | dict(start.metrics),
        checks=training_checks(trained.curves),
        timings=_timings(trained) | {"export": time.perf_counter() - exported},
        notes=start.notes,
    )


def _task(plan: Blueprint, start: warm.Start, data: TrainingData, seed: int) -> Task:
    """A full training that starts from chance or counts, or a warm one that goes on with the towers there are."""

    def begun(held_out_days: int) -> TwoTower:
        if start.model is not None:
            return start.model
        model = plan.towers(held_out_days)
        if plan.config.start == "cooccurrence":
            blocks = (windows.sequences for windows in data.blocks())
            start_from(model.items, blocks, plan.event_weight, plan.last_day - held_out_days, seed)
        return model

    return Task(
        build=begun,
        optimizer=lambda model, steps: start.optimizer(model, data.config, steps),
        data=data,
        config=data.config,
        seed=seed,
        event_weight=plan.event_weight,
        last_day=plan.last_day,
    )


def _train(task: Task, inputs: Inputs, out: Output) -> Trained:
    log.info(
        "training on %d windows in %d steps an epoch, at most %d epochs",
        task.data.windows,
        task.data.steps,
        task.config.epochs,
    )
    if not task.config.tensorboard:
        return train(task, inputs, out, lambda _: None)
    with board(out) as write:
        return train(task, inputs, out, write)


def _rows(trained: Trained, data: TrainingData, plan: Blueprint) -> dict[str, int]:
    return {
        "windows": data.windows,
        "steps": len(trained.curves.steps),
        "validated users": trained.validated_users,
        "items": plan.features.items,
        "warm_items": plan.features.warm,
    }


def _metrics(trained: Trained) -> dict[str, float]:
    best = trained.curves.best
    validation = {f"validation_{name}": value for name, value in (best.validation or {}).items()}
    return {
        "loss": best.loss,
        "full_softmax": float(trained.model.full_softmax),
        "epochs": float(len(trained.curves.epochs)),
        "best_epoch": float(trained.curves.best_epoch),
        **validation,
    }


def _timings(trained: Trained) -> dict[str, float]:
    """Of the curves' training, the earlier attempts' epochs included; with a refit its time is in the total alone."""
    epochs = trained.curves.epochs
    return {
        "training": sum(epoch.seconds for epoch in epochs),
        "training_input_wait": sum(epoch.input_seconds for epoch in epochs),
    }


def _describe(plan: Blueprint, config: Settings, out: Output) -> None:
    """Writes `towers.json`: what the next stage must know to feed the towers."""
    settings = config.retrieve.train
    content = {
        "embedding_size": settings.embedding_size,
        "sequence_length": settings.sequence_length,
        "similarity": settings.similarity,
        "items": plan.features.items,
        "warm_items": plan.features.warm,
        "event_codes": config.event_codes(),
        "user_columns": asdict(plan.known.columns),
        "context": settings.context,
        "device": settings.list_device,
    }
    storage.write_bytes(out.uri("towers.json"), json.dumps(content, indent=1).encode())
