"""A night that goes on from an earlier one: weights and moments carried over by id, and less to train on.

Every table with a row per id gets tonight's rows: kept ids have theirs of last time, moments
included; a new item starts from what its content says, a new user from the unknown user's row; what
is gone is retired. All else is taken over as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from recjobs import columns as c
from recjobs.errors import ModelError
from recjobs.manifest import DRIFT, PREVIOUS_EXTRACT, PREVIOUS_TRAIN, WARM_NIGHTS, Inputs, Manifest
from recjobs.retrieve.frames import read_frame
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.checkpoint import (
    Array,
    Checkpoint,
    moments_of,
    read_checkpoint,
    shaping,
    weights_of,
)
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.drift import Foresight, K, drift_of, foresight
from recjobs.retrieve.train.export import build
from recjobs.retrieve.train.fit import optimizer_of
from recjobs.retrieve.train.kinship import rows_from_content
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.replay import Course, warm_course
from recjobs.retrieve.train.rows import RowMap, identified, row_map, together
from recjobs.retrieve.user_features import list_time
from recjobs.settings import Settings

log = logging.getLogger(__name__)

ITEM, USER, TOKEN, TYPE = "item", "user", "token", "event type"
ROWS = {
    "id_embedding": ITEM,
    "history_embedding": ITEM,
    "user_embedding": USER,
    "token_embedding": TOKEN,
    "type_embedding": TYPE,
}
"""What the rows of a table stand for, by the last part of its name. Hashed tables have the same rows every night."""
FULL = {WARM_NIGHTS: 0.0, DRIFT: 0.0}
"""The metrics of a full training."""
NOBODY = RowMap(np.zeros(1, np.int64), 1)
_VOCABULARY = {TOKEN: c.TOKEN, TYPE: c.EVENT_TYPE}


@dataclass(frozen=True)
class Start:
    """What training starts from. `checkpoint` and `model` are None in a full training."""

    settings: RetrieveTrainConfig
    model: TwoTower | None = None
    """The towers that an earlier night's weights have been carried over into."""
    checkpoint: Checkpoint | None = None
    maps: Mapping[str, RowMap] = field(default_factory=dict)
    since: int = 0
    """Events from this time on (Unix seconds) are new to the towers."""
    metrics: Mapping[str, float] = field(default_factory=lambda: dict(FULL))
    notes: tuple[str, ...] = ()

    @contextmanager
    def course(self, files: list[str], seed: int) -> Iterator[Course]:
        """What to train on and how: everything as configured, or of a warm night a chosen part, gone afterwards."""
        if self.checkpoint is None:
            yield Course(files, self.settings)
        else:
            with warm_course(files, self.settings, since=self.since, seed=seed) as course:
                yield course

    def optimizer(self, model: TwoTower, settings: RetrieveTrainConfig, steps: int) -> Any:
        """The optimizer for `steps` steps, with the moments that it had."""
        if self.checkpoint is None:
            return optimizer_of(settings, steps)
        optimizer = optimizer_of(settings, steps, done=self.checkpoint.steps)
        optimizer.build(model.trainable_variables)
        optimizer.iterations.assign(self.checkpoint.steps)
        for name, slots in moments_of(model, optimizer).items():
            for slot, variable in slots.items():
                if (old := self.checkpoint.moments.get(name, {}).get(slot)) is not None:
                    variable.assign(_tonights(name, old, variable, self.maps))
        return optimizer


def begin(untrained: Callable[[], TwoTower], inputs: Inputs, config: Settings) -> Start:
    """Carries the pinned earlier night's weights over into `untrained` towers, where one is pinned.

    Raises:
        ModelError: the earlier towers were made with settings that give other towers.
        CorruptFileError: the checkpoint can't be read.
    """
    settings = config.retrieve.train
    before, trained = inputs.get(PREVIOUS_EXTRACT), inputs.get(PREVIOUS_TRAIN)
    if before is None or trained is None or not settings.warm_start:
        return Start(settings)
    checkpoint = read_checkpoint(trained)
    _require_same_settings(checkpoint, settings, trained)
    tf.keras.utils.set_random_seed(config.seed)
    model = untrained()
    build(model)
    if reason := _misfit(model, checkpoint):
        note = f"trained in full, not carried on from {trained.ds}: {reason}"
        log.info("%s", note)
        return Start(settings, notes=(note,))
    return _carried_on(model, inputs, config, checkpoint)


def _carried_on(model: TwoTower, inputs: Inputs, config: Settings, checkpoint: Checkpoint) -> Start:
    before, trained, extract = inputs[PREVIOUS_EXTRACT], inputs[PREVIOUS_TRAIN], inputs["extract"]
    maps = row_maps(checkpoint, model, before, extract)
    _assign(model, checkpoint, maps)
    users = maps.get(USER, NOBODY)
    figures = foresight(model, users, before, extract, inputs.cutoffs.train_until, config)
    notes = tuple(_told(trained, maps, figures))
    for note in notes:
        log.info("%s", note)
    metrics = drift_of(figures, trained.metrics) | {WARM_NIGHTS: trained.metrics.get(WARM_NIGHTS, 0.0) + 1}
    since = list_time(trained.cutoffs.train_until)
    return Start(config.retrieve.train, model, checkpoint, maps, since=since, metrics=metrics, notes=notes)


def carried_into(model: TwoTower, trained: Manifest, before: Manifest, extract: Manifest) -> None:
    """Gives untrained towers on `extract` the weights of `trained`, which learnt from `before`; for benchmarks.

    Raises:
        CorruptFileError: the checkpoint can't be read.
    """
    build(model)
    checkpoint = read_checkpoint(trained)
    _assign(model, checkpoint, row_maps(checkpoint, model, before, extract))


def users_of(model: TwoTower, before: Manifest, extract: Manifest) -> RowMap:
    """Which row each of `extract`'s users had by `before`'s indexes; for benchmarks."""
    rows = 1 if model.users.user_embedding is None else int(model.users.user_embedding.shape[0])
    largest = max(int(old["index"].max() or 0) for old, _ in _identities(USER, before, extract))  # type: ignore[arg-type]
    return row_map(_identities(USER, before, extract), before=largest + 1, rows=rows)


def _assign(model: TwoTower, checkpoint: Checkpoint, maps: Mapping[str, RowMap]) -> None:
    for name, variable in weights_of(model).items():
        variable.assign(_tonights(name, checkpoint.weights[name], variable, maps))
    rows_from_content(model.items, maps[ITEM])
    if USER in maps:
        _as_the_unknown(model.users.user_embedding, maps[USER])


def row_maps(checkpoint: Checkpoint, model: TwoTower, before: Manifest, extract: Manifest) -> dict[str, RowMap]:
    """For each kind of id that a table has rows of: which row each of tonight's ids had."""
    maps = {}
    for name, variable in weights_of(model).items():
        kind = _kind(name)
        if kind is not None and kind not in maps:
            sizes = {"before": len(checkpoint.weights[name]), "rows": int(variable.shape[0])}
            maps[kind] = row_map(_identities(kind, before, extract), **sizes)
    return maps


def _identities(kind: str, before: Manifest, extract: Manifest) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    if kind == USER:
        for old, new in together(before.shards("users"), extract.shards("users")):
            yield _read_users(old), _read_users(new)
    elif kind == ITEM:
        yield _read_items(before), _read_items(extract)
    else:
        yield _read_vocabulary(before, kind), _read_vocabulary(extract, kind)


def _read_users(uris: list[str]) -> pl.DataFrame:
    parts = [read_frame(uri, [c.USER, c.USER_INDEX]) for uri in uris]
    return identified(pl.concat(parts), c.USER, c.USER_INDEX)


def _read_items(extract: Manifest) -> pl.DataFrame:
    return identified(read_frame(extract.uri("items.parquet"), [c.ITEM, c.ITEM_INDEX]), c.ITEM, c.ITEM_INDEX)


def _read_vocabulary(extract: Manifest, kind: str) -> pl.DataFrame:
    frame = read_frame(extract.uri("vocabulary.parquet"), [c.VOCABULARY_COLUMN, c.VOCABULARY_VALUE, c.VOCABULARY_INDEX])
    chosen = frame.filter(pl.col(c.VOCABULARY_COLUMN) == _VOCABULARY[kind])
    return identified(chosen, c.VOCABULARY_VALUE, c.VOCABULARY_INDEX)


def _kind(name: str) -> str | None:
    return ROWS.get(name.rpartition("-")[2])


def _tonights(name: str, old: Array, variable: Any, maps: Mapping[str, RowMap]) -> Array:
    """The old values as tonight's variable has its rows; new rows are as they are in `variable`."""
    kind = _kind(name)
    return old if kind is None else maps[kind].carried(old, variable.numpy())


def _as_the_unknown(table: Any, rows: RowMap) -> None:
    """New rows of a table become the unknown id's: what was served for them yesterday."""
    values = table.numpy()
    values[rows.new_rows] = values[0]
    table.assign(values)


def _require_same_settings(checkpoint: Checkpoint, settings: RetrieveTrainConfig, trained: Manifest) -> None:
    now = shaping(settings)
    differing = [name for name in now if checkpoint.settings.get(name) != now[name]]
    if differing:
        told = ", ".join(f"{name} was {checkpoint.settings.get(name)!r}, is {now[name]!r}" for name in differing)
        raise ModelError(
            f"the towers of {trained.ds} can't be carried on: retrieve.train.{told}. Plan the run again, or set "
            "retrieve.train.warm_start=false for one run.",
            ds=str(trained.ds),
            settings=differing,
        )


def _misfit(model: TwoTower, checkpoint: Checkpoint) -> str:
    """Why tonight's data need other towers than the checkpoint holds; empty where they don't."""
    tonight = {name: tuple(variable.shape) for name, variable in weights_of(model).items()}
    if other := sorted(tonight.keys() ^ checkpoint.weights.keys()):
        return f"{', '.join(other)} came or went (a column has its first values, or none any more)"
    for name, shape in tonight.items():
        was = checkpoint.weights[name].shape
        if was[1:] != shape[1:] or (_kind(name) is None and was != shape):
            return f"{name} was {list(was)}, is {list(shape)} (a column has its first values, or none any more)"
    return ""


def _told(trained: Manifest, maps: Mapping[str, RowMap], figures: Foresight) -> Iterator[str]:
    rows = "; ".join(f"{kind} {one.kept} kept, {one.new} new, {one.retired} retired" for kind, one in maps.items())
    yield f"carried on from the towers of {trained.ds}, rows: {rows}"
    yield (
        f"before training they had {figures.recall:.4f} of what {figures.users} users did since among their first {K}, "
        f"the most popular items have {figures.popular:.4f}"
    )
