"""Training sequences from TFRecord to batches of windows, without padding to the longest.

A sequence of n events is cut, from its end, into windows of at most `length` targets. A window also
holds the event before its first target, so that every event but the first is a target with something
before it; the first event of all is a target of the empty history.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs import columns
from recjobs.errors import CorruptFileError, ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.user_features import EVENT_FIELDS, SIDE_FIELDS

log = logging.getLogger(__name__)

FIRST = "first"
"""1 where a window starts with the user's first event, so that its empty history is real."""
_PARSE_BATCH = 512
_SHUFFLE_BUFFER = 50_000
_MIN_WIDTH = 4


@dataclass(frozen=True)
class Buckets:
    """Widths of windows that share a batch, and how many windows a batch of each width has."""

    widths: tuple[int, ...]
    batch_sizes: tuple[int, ...]

    def steps(self, windows_by_width: npt.NDArray[np.int64]) -> int:
        """Batches in one pass; `windows_by_width[n]` counts the windows of n events."""
        lower = 0
        total = 0
        for width, size in zip(self.widths, self.batch_sizes, strict=True):
            total += -(-int(windows_by_width[lower + 1 : width + 1].sum()) // size)
            lower = width
        return total


def buckets_of(config: RetrieveTrainConfig) -> Buckets:
    """Doubling widths up to `sequence_length` + 1 events; batches bounded by `positions_per_step`."""
    longest = config.sequence_length + 1
    widths = []
    width = _MIN_WIDTH
    while width < longest:
        widths.append(width)
        width = max(width + 1, int(width * 1.5))
    widths.append(longest)
    sizes = [max(1, min(config.batch_size, config.positions_per_step // width)) for width in widths]
    return Buckets(tuple(widths), tuple(sizes))


def sequence_files(folder: Path) -> list[str]:
    """The TFRecord files of a folder, by name."""
    return sorted(str(path) for path in folder.rglob("part-*.tfrecord"))


def windows(files: Sequence[str], config: RetrieveTrainConfig) -> Any:
    """A dataset of windows in the files' order: int64 vectors by event field, side features, `first`."""
    records = tf.data.TFRecordDataset(list(files)).batch(_PARSE_BATCH)
    parsed = records.map(_parse, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    return parsed.flat_map(lambda row: _cut(row, config.sequence_length, config.windows_per_user))


def window_widths(files: Sequence[str], config: RetrieveTrainConfig) -> npt.NDArray[np.int64]:
    """How many windows have n events, for n in 0…`sequence_length` + 1.

    Raises:
        ModelError: there is nothing to learn from.
        CorruptFileError: a record is no sequence.
    """
    start = np.zeros(config.sequence_length + 2, np.int64)
    lengths = tf.data.TFRecordDataset(list(files)).batch(_PARSE_BATCH).map(lambda batch: _lengths(_parse(batch)))
    counts = start
    try:
        for batch in lengths.as_numpy_iterator():
            counts = counts + _count_windows(batch, config)
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
        raise CorruptFileError(f"training sequences in {files[0]} … can't be read: {error.message}.") from error
    if not counts.any():
        raise ModelError(
            "there are no training sequences: no user has an event with an item until train_until. "
            "Check the events' dates and the cutoffs."
        )
    return counts


def batches(files: Sequence[str], config: RetrieveTrainConfig, buckets: Buckets, seed: int) -> Any:
    """Shuffled batches of windows, padded with 0 on the right to the longest of the batch.

    Each iteration over the dataset is another order; the orders follow from `seed`.
    """
    shuffled = windows(files, config).shuffle(_SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=True)
    grouped = shuffled.bucket_by_sequence_length(
        lambda row: tf.size(row["item"]),
        bucket_boundaries=[width + 1 for width in buckets.widths[:-1]],
        bucket_batch_sizes=list(buckets.batch_sizes),
    )
    return grouped.prefetch(4)


def _parse(records: Any) -> dict[str, Any]:
    features: dict[str, Any] = {field: tf.io.RaggedFeature(tf.int64) for field in EVENT_FIELDS}
    features |= {field: tf.io.FixedLenFeature([], tf.string, default_value="") for field in SIDE_FIELDS}
    features[columns.USER_INDEX] = tf.io.FixedLenFeature([], tf.int64)
    return dict(tf.io.parse_example(records, features))


def _lengths(parsed: dict[str, Any]) -> Any:
    return parsed["item"].row_lengths()


def _count_windows(lengths: npt.NDArray[np.int64], config: RetrieveTrainConfig) -> npt.NDArray[np.int64]:
    """The widths of the windows of sequences of the given lengths, as counts by width."""
    counts = np.zeros(config.sequence_length + 2, np.int64)
    for back in range(config.windows_per_user):
        stop = lengths - back * config.sequence_length
        width = np.minimum(stop, config.sequence_length + 1)
        counts += np.bincount(width[_worth(width, back)], minlength=len(counts))
    return counts


def _worth(width: Any, back: Any) -> Any:
    """Whether a window has a target: two events, or the user's only one."""
    return (width >= 2) | ((back == 0) & (width >= 1))


def _cut(row: dict[str, Any], length: int, limit: int) -> Any:
    """The windows of one sequence, the latest first."""
    n = tf.size(row["item"], out_type=tf.int64)
    starts = tf.data.Dataset.range(limit).filter(lambda back: _worth(tf.minimum(n - back * length, length + 1), back))
    return starts.map(lambda back: _window(row, n - back * length, length))


def _window(row: dict[str, Any], stop: Any, length: int) -> dict[str, Any]:
    start = tf.maximum(stop - length - 1, 0)
    window = {field: values[start:stop] if field in EVENT_FIELDS else values for field, values in row.items()}
    return window | {FIRST: tf.cast(start == 0, tf.float32)}
