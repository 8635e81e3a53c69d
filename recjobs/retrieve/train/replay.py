"""What a warm night trains on: the users with new events, and a sample of the others so that nothing is unlearnt.

The budget is a share of the windows of a full training. Chosen sequences are copied as they are
into a folder that is gone after the training; the draw follows from the seed and the night.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recjobs import columns as c
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.user_features import TIME

_RECORDS = 1024
_BUCKETS = 1 << 30


@dataclass(frozen=True)
class Course:
    """The sequence files to train on, and with which settings."""

    files: list[str]
    settings: RetrieveTrainConfig


@dataclass(frozen=True)
class Quota:
    """Passes over the chosen, and which share of the users with new events and of the others is chosen."""

    epochs: int
    new: float
    old: float


def quota(budget: float, new: int, old: int, most: int) -> Quota:
    """The quota for `budget` windows in all, where users with new events have `new` windows and others `old`.

    Others are drawn only once all new ones are in, and passes are added, up to `most`, only once all are in.
    """
    epochs = min(most, max(1, -(-int(budget) // max(1, new + old))))
    a_pass = budget / epochs
    return Quota(epochs, min(1.0, a_pass / max(1, new)), min(1.0, max(0.0, a_pass - new) / max(1, old)))


@contextmanager
def warm_course(files: Sequence[str], full: RetrieveTrainConfig, *, since: int, seed: int) -> Iterator[Course]:
    """What to train on for `full.warm_share` of the windows that `full` would see; events from `since` on are new."""
    warm = full.model_copy(
        update={
            "windows_per_user": min(full.warm_windows, full.windows_per_user),
            "learning_rate": full.learning_rate * full.warm_learning_rate,
            # So few passes need no early stopping; what a warm night is worth, drift tells.
            "validation": None,
        }
    )
    total, new, old = _windows(files, full, warm, since)
    # A step's worth at least, so that a handful of users does not end as none.
    budget = max(full.batch_size, full.warm_share * full.epochs * total)
    chosen = quota(budget, new, old, full.epochs)
    with tempfile.TemporaryDirectory(prefix="recjobs-replay-") as folder:
        copies = [str(Path(folder) / Path(name).name) for name in files]
        drawn = _drawing(chosen, since, seed)
        for source, target in zip(files, copies, strict=True):
            kept = tf.data.experimental.to_variant(_records([source]).map(drawn).unbatch())
            tf.raw_ops.DatasetToTFRecord(input_dataset=kept, filename=target, compression_type="")
        yield Course(copies, warm.model_copy(update={"epochs": chosen.epochs}))


def _windows(
    files: Sequence[str], full: RetrieveTrainConfig, warm: RetrieveTrainConfig, since: int
) -> tuple[int, int, int]:
    """Windows in a full pass; and, as a warm night cuts them, of users with new events and of the others."""
    counts = np.zeros(3, np.int64)
    for lengths, last in _records(files).map(lambda batch: _length_and_end(_parse(batch))).as_numpy_iterator():
        cut = _window_count(lengths, warm)
        counts += (_window_count(lengths, full).sum(), cut[last >= since].sum(), cut[last < since].sum())
    total, new, old = counts.tolist()
    return total, new, old


def _window_count(lengths: Any, config: RetrieveTrainConfig) -> Any:
    """How many windows sequences of these lengths are cut into (`recjobs/retrieve/train/sequences.py`)."""
    return np.where(lengths > 0, np.clip(-(-lengths // config.sequence_length) - 1, 1, config.windows_per_user), 0)


def _drawing(chosen: Quota, since: int, seed: int) -> Any:
    """Draws from a batch of records, as one graph for all files: tracing it takes longer than a copy."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)  # type: ignore[untyped-decorator]
    def drawn(batch: Any) -> Any:
        parsed = _parse(batch)
        share = tf.where(_length_and_end(parsed)[1] >= since, chosen.new, chosen.old)
        key = tf.strings.join([tf.strings.as_string(parsed[c.USER_INDEX]), f"{seed} {since}"], " ")
        lot = tf.cast(tf.strings.to_hash_bucket_fast(key, _BUCKETS), tf.float32) / _BUCKETS
        return tf.boolean_mask(batch, lot < share)

    return drawn


def _records(files: Sequence[str]) -> Any:
    return tf.data.TFRecordDataset(list(files)).batch(_RECORDS)


def _parse(batch: Any) -> dict[str, Any]:
    features = {
        TIME: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64),
        c.USER_INDEX: tf.io.FixedLenFeature([], tf.int64),
    }
    return dict(tf.io.parse_example(batch, features))


def _length_and_end(parsed: dict[str, Any]) -> tuple[Any, Any]:
    """How many events each sequence has, and the time of the last."""
    return parsed[TIME].row_lengths(), tf.reduce_max(parsed[TIME], axis=1)
