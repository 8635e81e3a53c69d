"""`retrieve/train`: the two towers, trained on what users did next."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns, storage
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.retrieve.framework import tf
from recjobs.retrieve.item_features import ItemFeatures, item_features
from recjobs.retrieve.train.about import About
from recjobs.retrieve.train.checks import training_checks
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.curves import write_curves
from recjobs.retrieve.train.devices import strategy_of
from recjobs.retrieve.train.export import export
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.known_users import KnownUsers, known_users
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.sequences import TrainingData, sequence_files
from recjobs.retrieve.train.start import start_from
from recjobs.retrieve.train.targets import TargetRule
from recjobs.retrieve.train.tensorboard import board
from recjobs.retrieve.train.texts import token_table
from recjobs.retrieve.train.training import Task, Trained, train
from recjobs.retrieve.train.user_tower import UserTower
from recjobs.retrieve.user_features import UserColumns
from recjobs.settings import Settings

log = logging.getLogger(__name__)


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Trains the towers on `extract`'s sequences and writes them, a checkpoint and the curves.

    Reproducible for a seed, a machine type and a thread count, also where an attempt that was killed is gone on with.

    Raises:
        ModelError: nothing to learn from or to validate on, or the loss or a vector is not finite.
        CorruptFileError: a sequence file can't be read.
    """
    extract = inputs["extract"]
    features = _features(extract, config, inputs)
    known = known_users(extract, config.users)
    with storage.local_folder(extract.uri("sequences")) as folder, strategy_of().scope():
        data = TrainingData(sequence_files(folder), config.retrieve.train, config.seed, known.columns)
        trained = _train(data, features, known, inputs, config, out)
    exported = time.perf_counter()
    export(trained.model, trained.optimizer, features.items, out)
    write_curves(trained.curves, out)
    _describe(features, known.columns, config, out)
    return out.manifest(
        rows=_rows(trained, data, features),
        metrics=_metrics(trained),
        checks=training_checks(trained.curves),
        timings=_timings(trained) | {"export": time.perf_counter() - exported},
    )


def _train(
    data: TrainingData, features: ItemFeatures, known: KnownUsers, inputs: Inputs, config: Settings, out: Output
) -> Trained:
    settings = config.retrieve.train
    until = inputs.cutoffs.train_until
    tokens = token_rows(inputs["extract"])

    def build(held_out_days: int) -> TwoTower:
        return _model(features, known, tokens, config, _target_rule(config, until, held_out_days))

    task = Task(build, data, settings, config.seed, event_weights(config), _day(until))
    log.info(
        "training on %d windows in %d steps an epoch, at most %d epochs, %s",
        data.windows,
        data.steps,
        settings.epochs,
        "softmax over all items" if settings.is_full_softmax(features.warm) else "sampled negatives",
    )
    if not settings.tensorboard:
        return train(task, inputs, out, lambda _: None)
    with board(out) as write:
        return train(task, inputs, out, write)


def _rows(trained: Trained, data: TrainingData, features: ItemFeatures) -> dict[str, int]:
    return {
        "windows": data.windows,
        "steps": len(trained.curves.steps),
        "validated users": trained.validated_users,
        "items": features.items,
        "warm_items": features.warm,
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
        text=declared.text if declared else (),
    )


def _model(features: ItemFeatures, known: KnownUsers, token_rows: int, config: Settings, rule: TargetRule) -> TwoTower:
    settings = config.retrieve.train
    items = ItemTower(
        features,
        size=settings.embedding_size,
        hash_rows=settings.item_buckets + 1,
        token_rows=token_rows,
        cosine=settings.similarity == "cosine",
        own_history=settings.history_embedding,
    )
    about = About(
        known,
        size=settings.embedding_size,
        buckets=settings.user_buckets,
        tokens=_user_tokens(items, known, token_rows, settings),
    )
    users = UserTower(
        settings,
        users=known.largest,
        event_types=len(config.events.types),
        dislikes=np.flatnonzero(event_weights(config) < 0).tolist(),
        about=about,
    )
    return TwoTower(items, users, features, rule, settings)


def _user_tokens(items: ItemTower, known: KnownUsers, token_rows: int, settings: RetrieveTrainConfig) -> Any:
    """The items' table of tokens, or one of the users' own where only they have texts."""
    if not known.columns.text or items.token_embedding is not None:
        return items.token_embedding
    return token_table(token_rows, settings.embedding_size)


def _day(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _target_rule(config: Settings, train_until: date, held_out_days: int) -> TargetRule:
    settings = config.retrieve.train
    return TargetRule(
        event_weight=tf.constant(event_weights(config)),
        next_day=settings.targets == "next_day",
        crowding=settings.crowding,
        half_life_days=settings.half_life_days,
        last_day=_day(train_until),
        held_out_days=held_out_days,
    )


def event_weights(config: Settings) -> npt.NDArray[np.float32]:
    """The weight of each event code, 0 for the unknown one: float32[types + 1]."""
    weights = np.zeros(len(config.events.types) + 1, np.float32)
    for name, code in config.event_codes().items():
        weights[code] = config.events.types[name].weight
    return weights


def token_rows(extract: Manifest) -> int:
    """One more than the largest index of a token in the vocabulary: the rows of the towers' table of tokens."""
    with storage.reading(extract.uri("vocabulary.parquet")) as stream:
        vocabulary = pl.read_parquet(stream, columns=[columns.VOCABULARY_COLUMN, columns.VOCABULARY_INDEX])
    tokens = vocabulary.filter(pl.col(columns.VOCABULARY_COLUMN) == columns.TOKEN)[columns.VOCABULARY_INDEX]
    return int(tokens.max() or 0) + 1  # type: ignore[arg-type]


def _describe(features: ItemFeatures, further: UserColumns, config: Settings, out: Output) -> None:
    """Writes `towers.json`: what the next stage must know to feed the towers."""
    settings = config.retrieve.train
    content = {
        "embedding_size": settings.embedding_size,
        "sequence_length": settings.sequence_length,
        "similarity": settings.similarity,
        "items": features.items,
        "warm_items": features.warm,
        "event_codes": config.event_codes(),
        "user_columns": asdict(further),
        "context": settings.context,
    }
    storage.write_bytes(out.uri("towers.json"), json.dumps(content, indent=1).encode())
