"""`retrieve/train`: the two towers, trained on what users did next."""

from __future__ import annotations

import json
import logging
import time
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns, storage
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.retrieve.framework import tf
from recjobs.retrieve.item_features import ItemFeatures, item_features
from recjobs.retrieve.train import warm
from recjobs.retrieve.train.checks import training_checks
from recjobs.retrieve.train.curves import write_curves
from recjobs.retrieve.train.export import export
from recjobs.retrieve.train.fit import Curves, fit
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.replay import Course
from recjobs.retrieve.train.sequences import batches, buckets_of, sequence_files, window_widths
from recjobs.retrieve.train.targets import TargetRule
from recjobs.retrieve.train.user_tower import UserTower
from recjobs.settings import Settings

log = logging.getLogger(__name__)


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Trains the towers on `extract`'s sequences and writes them, a checkpoint and the curves.

    Reproducible for a seed, a machine type and a thread count.

    Raises:
        ModelError: nothing to learn from, or the loss or a vector is not finite.
        CorruptFileError: a sequence file can't be read.
    """
    extract = inputs["extract"]
    tf.keras.utils.set_random_seed(config.seed)
    features = _features(extract, config, inputs)
    model = _model(features, extract, config, inputs.cutoffs.train_until)
    start = warm.begin(model, inputs, config)
    with (
        storage.local_folder(extract.uri("sequences")) as folder,
        start.course(sequence_files(folder), config.seed) as course,
    ):
        curves, optimizer, rows = _train(model, course, start, config.seed)
    exported = time.perf_counter()
    export(model, optimizer, features.items, out)
    write_curves(curves, out)
    _describe(features, config, out)
    return out.manifest(
        rows=rows | {"items": features.items, "warm_items": features.warm},
        metrics={"loss": curves.epochs[-1].loss, "full_softmax": float(model.full_softmax)} | dict(start.metrics),
        checks=training_checks(curves),
        timings={
            "training": sum(epoch.seconds for epoch in curves.epochs),
            "export": time.perf_counter() - exported,
        },
        notes=start.notes,
    )


def _features(extract: Manifest, config: Settings, inputs: Inputs) -> ItemFeatures:
    with storage.reading(extract.uri("items.parquet")) as stream:
        items = pl.read_parquet(stream)
    declared = config.items
    return item_features(
        items,
        inputs.cutoffs.train_until,
        buckets=config.retrieve.train.item_buckets,
        categorical=declared.categorical if declared else (),
        numeric=declared.numeric if declared else (),
        vectors=declared.vectors if declared else (),
    )


def _model(features: ItemFeatures, extract: Manifest, config: Settings, train_until: date) -> TwoTower:
    settings = config.retrieve.train
    items = ItemTower(
        features,
        size=settings.embedding_size,
        hash_rows=settings.item_buckets + 1,
        token_rows=int(features.tokens.max(initial=0)) + 1,
        cosine=settings.similarity == "cosine",
    )
    users = UserTower(settings, users=_known_users(extract), event_types=len(config.events.types))
    return TwoTower(items, users, features, _target_rule(config, train_until), settings)


def _target_rule(config: Settings, train_until: date) -> TargetRule:
    settings = config.retrieve.train
    return TargetRule(
        event_weight=tf.constant(event_weights(config)),
        next_day=settings.targets == "next_day",
        crowding=settings.crowding,
        half_life_days=settings.half_life_days,
        last_day=(train_until - date(1970, 1, 1)).days,
    )


def event_weights(config: Settings) -> npt.NDArray[np.float32]:
    """The weight of each event code, 0 for the unknown one: float32[types + 1]."""
    weights = np.zeros(len(config.events.types) + 1, np.float32)
    for name, code in config.event_codes().items():
        weights[code] = config.events.types[name].weight
    return weights


def _known_users(extract: Manifest) -> int:
    """The largest user index in the user states."""
    largest = 0
    for part in extract.parts("users"):
        with storage.reading(part.uri) as stream:
            index = pl.read_parquet(stream, columns=[columns.USER_INDEX])[columns.USER_INDEX]
        largest = max(largest, int(index.max() or 0))  # type: ignore[arg-type]
    return largest


def _train(model: TwoTower, course: Course, start: warm.Start, seed: int) -> tuple[Curves, object, dict[str, int]]:
    files, settings = course.files, course.settings
    buckets = buckets_of(settings)
    widths = window_widths(files, settings)
    steps, windows = buckets.steps(widths), int(widths.sum())
    optimizer = start.optimizer(model, settings, steps * settings.epochs)
    log.info(
        "training on %d windows in %d steps an epoch, %d epochs, %s",
        windows,
        steps,
        settings.epochs,
        "softmax over all items" if model.full_softmax else "in-batch negatives",
    )
    curves = fit(
        model,
        optimizer,
        batches(files, settings, buckets, seed),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        windows=windows,
        seed=seed,
    )
    return curves, optimizer, {"windows": windows, "steps": len(curves.steps)}


def _describe(features: ItemFeatures, config: Settings, out: Output) -> None:
    """Writes `towers.json`: what the next stage must know to feed the towers."""
    settings = config.retrieve.train
    content = {
        "embedding_size": settings.embedding_size,
        "sequence_length": settings.sequence_length,
        "similarity": settings.similarity,
        "items": features.items,
        "warm_items": features.warm,
        "event_codes": config.event_codes(),
    }
    storage.write_bytes(out.uri("towers.json"), json.dumps(content, indent=1).encode())
