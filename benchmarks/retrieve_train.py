"""Windows trained on per second, on generated sequences of Amazon Beauty's shape: 22 k users, 12 k items.

Ours is `Trainer.fit`, input included. The yardstick runs the same steps on batches made beforehand, and where the
softmax is full it is the plain formula, which holds all logits. `ratio` is ours over the yardstick in time. Seconds
an epoch, the share of them that waits for input, and peak memory go to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as recjobs/stages.py has it for this stage

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns
from recjobs.extract.histories import Timeline
from recjobs.extract.sequences import Told, write_sequences
from recjobs.memory import peak_bytes
from recjobs.retrieve.framework import tf
from recjobs.retrieve.item_features import ItemFeatures
from recjobs.retrieve.train import model as model_module
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.fit import Trainer, optimizer_of
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.sequences import TrainingData
from recjobs.retrieve.train.targets import SECONDS_A_DAY, TargetRule
from recjobs.retrieve.train.user_tower import UserTower
from recjobs.settings import load_settings

MEAN_EVENTS, SHARDS = 7.1, 8
LAST_DAY = (date(2026, 1, 1) - date(1970, 1, 1)).days


def main(arguments: list[str]) -> int:
    """Prints a JSON line for the full softmax and one for sampled negatives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=22_000)
    parser.add_argument("--items", type=int, default=12_000)
    parser.add_argument("--steps", type=int, default=40, help="steps of the yardstick, at most an epoch")
    given = parser.parse_args(arguments)
    shipped = load_settings("sequences").retrieve.train
    with tempfile.TemporaryDirectory(prefix="recjobs-") as scratch:
        files, counts = generated(Path(scratch), given.users, given.items)
        for objective in ("full", "sampled"):
            config = shipped.model_copy(update={"objective": objective})
            print(json.dumps(compare(files, counts, config, given.steps)), flush=True)
    return 0


def generated(folder: Path, users: int, items: int) -> tuple[list[str], npt.NDArray[np.int64]]:
    """TFRecord files of sequences with popular items and few long users, and the events of each item."""
    random = np.random.default_rng(7)
    lengths = np.minimum(4 + random.geometric(1 / (MEAN_EVENTS - 3), users) - 1, 200)
    share = 1 / np.arange(1, items + 1) ** 0.6
    item = 1 + random.choice(items, int(lengths.sum()), p=share / share.sum())
    day = LAST_DAY - (np.repeat(np.cumsum(lengths), lengths) - np.arange(len(item)) - 1)
    files = []
    for shard, rows in enumerate(np.array_split(np.arange(users), SHARDS)):
        first, last = lengths[: rows[0]].sum(), lengths[: rows[-1] + 1].sum()
        files.append(str(folder / f"part-{shard:05d}.tfrecord"))
        _write(files[-1], rows, item[first:last], day[first:last], lengths[rows])
    counts = np.bincount(item, minlength=items + 1)
    # Items are numbered by events, as `extract` does.
    return files, np.concatenate([[0], np.sort(np.maximum(counts[1:], 1))[::-1]])


def _write(
    uri: str, rows: npt.NDArray[Any], item: npt.NDArray[Any], day: npt.NDArray[Any], lengths: npt.NDArray[Any]
) -> None:
    names = [columns.COUNTRY, columns.REGION, columns.LANGUAGE, columns.AGE_BAND]
    users = pl.DataFrame(
        {columns.USER: [f"user-{row:07d}" for row in rows], **{name: [""] * len(rows) for name in names}}
    )
    seconds = day * SECONDS_A_DAY
    code = np.ones(len(item), np.int8)
    events = Timeline(len(rows), np.repeat(np.arange(len(rows)), lengths), item.astype(np.int32), code, seconds)
    write_sequences(uri, users, rows + 1, Told(), events, lengths)


def compare(
    files: list[str], counts: npt.NDArray[np.int64], config: RetrieveTrainConfig, steps: int
) -> dict[str, str | float]:
    """An epoch of ours after a warm-up epoch of steps, and the yardstick's steps."""
    data = TrainingData(files, config, 7)
    trainer = _trainer(data, counts, config)
    batches = list(data.batches(1))[:steps]
    ours_per_step, epoch = _ours(trainer)
    bare_per_step = _yardstick(data, counts, config, batches)
    peak = peak_bytes()
    print(
        f"{config.objective}: {epoch.seconds:.1f} s an epoch, {epoch.input_seconds / epoch.seconds:.2%} of it waiting "
        f"for input, {peak / 2**30:.2f} GiB at most, oneDNN {os.environ['TF_ENABLE_ONEDNN_OPTS']}",
        file=sys.stderr,
    )
    per_step = data.windows / data.steps
    return {
        "name": f"retrieve/train, {config.objective} softmax, {data.windows:,} windows, {len(counts) - 1:,} items",
        "ours": per_step / ours_per_step,
        "yardstick": per_step / bare_per_step,
        "ratio": ours_per_step / bare_per_step,
        "unit": "windows/s",
    }


def _trainer(data: TrainingData, counts: npt.NDArray[np.int64], config: RetrieveTrainConfig) -> Trainer:
    tf.keras.utils.set_random_seed(7)
    rows, none = len(counts), np.zeros((len(counts), 0), np.float32)
    whole = np.zeros((rows, 0), np.int32)
    features = ItemFeatures(whole, whole, none, none, counts)
    size, own_history = config.embedding_size, config.history_embedding
    items = ItemTower(features, size=size, hash_rows=2, token_rows=1, cosine=True, own_history=own_history)
    users = UserTower(config, users=1, event_types=1)
    rule = TargetRule(tf.constant([0.0, 1.0]), True, config.crowding, None, LAST_DAY)
    model = TwoTower(items, users, features, rule, config)
    return Trainer(model, optimizer_of(config, data.steps * config.epochs), data, 7)


def _ours(trainer: Trainer) -> tuple[float, Any]:
    """Seconds a step of the second epoch, and that epoch."""
    epoch = trainer.fit(2).epochs[-1]
    return epoch.seconds / trainer.data.steps, epoch


def _yardstick(
    data: TrainingData, counts: npt.NDArray[np.int64], config: RetrieveTrainConfig, batches: list[dict[str, Any]]
) -> float:
    with mock.patch.object(model_module, "weighted_log_normaliser", _plain_log_normaliser):
        trainer = _trainer(data, counts, config)
        parts = [trainer._parts(batch) for batch in batches]
        seeds = [tf.constant([7, place], tf.int32) for place in range(len(parts))]
        trainer._step(parts[0], seeds[0])
        started = time.perf_counter()
        for part, seed in zip(parts, seeds, strict=True):
            trainer._step(part, seed)[0].numpy()
        took = time.perf_counter() - started
    return took / sum(len(batch[columns.USER_INDEX]) for batch in batches) * data.windows / data.steps


def _plain_log_normaliser(users: Any, weight: Any, items: Any) -> Any:
    return tf.reduce_sum(weight * tf.reduce_logsumexp(tf.matmul(users, items, transpose_b=True), axis=1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
