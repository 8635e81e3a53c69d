"""Training sequences from TFRecord to batches of windows, without padding to the longest.

With L = `sequence_length`, a sequence is cut from its end into windows of 2 L events: the last L are
targets, the L before them are the history that the first of these is foreseen from. A window that
reaches the sequence's beginning has all its events as targets, the first one foreseen from the
empty history.
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
from recjobs.retrieve.user_features import (
    CATEGORICAL,
    EVENT_FIELDS,
    ITEM,
    NO_COLUMNS,
    NUMERIC,
    SIDE_FIELDS,
    TOKENS,
    UserColumns,
)

log = logging.getLogger(__name__)

FIRST_TARGET = "first_target"
"""The first event of a window that is a target; 0 only where the window starts with the user's first event."""
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
    """Growing widths up to 2 L events; batches bounded by `positions_per_step`."""
    longest = 2 * config.sequence_length
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


def windows(files: Sequence[str], config: RetrieveTrainConfig, further: UserColumns = NO_COLUMNS) -> Any:
    """A dataset of windows in the files' order: int64 vectors by event field, side features, `first_target`.

    Side features are those of every user and the inputs that `further` columns make.
    """
    records = tf.data.TFRecordDataset(list(files)).batch(_PARSE_BATCH)
    cut = records.map(
        lambda batch: _cut(_parse(batch, further), config.sequence_length, config.windows_per_user),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    # A row of a ragged tensor is a tensor, but tf.data knows that only after a map.
    return cut.unbatch().map(lambda row: {field: tf.identity(values) for field, values in row.items()})


def window_widths(files: Sequence[str], config: RetrieveTrainConfig) -> npt.NDArray[np.int64]:
    """How many windows have n events, for n in 0…2 L.

    Raises:
        ModelError: there is nothing to learn from.
        CorruptFileError: a record is no sequence.
    """
    counts = np.zeros(2 * config.sequence_length + 1, np.int64)
    lengths = tf.data.TFRecordDataset(list(files)).batch(_PARSE_BATCH).map(lambda batch: _lengths(_parse(batch)))
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


def batches(
    files: Sequence[str],
    config: RetrieveTrainConfig,
    buckets: Buckets,
    seed: int,
    further: UserColumns = NO_COLUMNS,
) -> Any:
    """Shuffled batches of windows, padded with 0 on the right to the longest of the batch.

    Each iteration over the dataset is another order; the orders follow from `seed`.
    """
    shuffled = windows(files, config, further).shuffle(_SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=True)
    grouped = shuffled.bucket_by_sequence_length(
        lambda row: tf.size(row[ITEM]),
        bucket_boundaries=[width + 1 for width in buckets.widths[:-1]],
        bucket_batch_sizes=list(buckets.batch_sizes),
    )
    return grouped.prefetch(4)


def _parse(records: Any, further: UserColumns = NO_COLUMNS) -> dict[str, Any]:
    features: dict[str, Any] = {
        field: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64) for field in EVENT_FIELDS
    }
    features |= {field: tf.io.FixedLenFeature([], tf.string, default_value="") for field in SIDE_FIELDS}
    features[columns.USER_INDEX] = tf.io.FixedLenFeature([], tf.int64)
    parsed = dict(tf.io.parse_example(records, features | _told_features(further)))
    return {name: values for name, values in parsed.items() if name in features} | _told(parsed, further)


def _told_features(further: UserColumns) -> dict[str, Any]:
    """How to read what users' further columns say; a field that is not there is unknown."""
    text = dict.fromkeys(further.categorical, tf.io.FixedLenFeature([], tf.string, default_value=""))
    number = dict.fromkeys(further.numeric, tf.io.FixedLenFeature([], tf.float32, default_value=float("nan")))
    names = [columns.tokens_column(name) for name in further.text]
    tokens = dict.fromkeys(names, tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64))
    return {columns.told_field(name): feature for name, feature in (text | number | tokens).items()}


def _told(parsed: dict[str, Any], further: UserColumns) -> dict[str, Any]:
    """The inputs of `user_features` that further columns make, of a batch of sequences."""

    def of(names: tuple[str, ...]) -> list[Any]:
        return [parsed[columns.told_field(name)] for name in names]

    made: dict[str, Any] = {}
    if further.categorical:
        made[CATEGORICAL] = tf.stack(of(further.categorical), axis=1)
    if further.numeric:
        made[NUMERIC] = tf.stack(of(further.numeric), axis=1)
    if further.text:
        lists = of(tuple(columns.tokens_column(name) for name in further.text))
        padded = [tokens.to_tensor(shape=[None, further.tokens]) for tokens in lists]
        made[TOKENS] = tf.stack(padded, axis=1)
    return made


def _lengths(parsed: dict[str, Any]) -> Any:
    return parsed[ITEM].row_lengths()


def _count_windows(lengths: npt.NDArray[np.int64], config: RetrieveTrainConfig) -> npt.NDArray[np.int64]:
    """The widths of the windows of sequences of the given lengths, as counts by width."""
    length = config.sequence_length
    counts = np.zeros(2 * length + 1, np.int64)
    for back in range(config.windows_per_user):
        width = np.minimum(lengths - back * length, 2 * length)
        counts += np.bincount(width[_is_window(lengths, back, length)], minlength=len(counts))
    return counts


def _is_window(n: Any, back: Any, length: int) -> Any:
    """Whether a sequence of `n` events has a window `back` steps from its end: the ones after it left some over."""
    return (n > (back + 1) * length) | ((back == 0) & (n > 0))


def _cut(rows: dict[str, Any], length: int, limit: int) -> dict[str, Any]:
    """The windows of a batch of sequences, those of one sequence together, the latest first."""
    n = rows[ITEM].row_lengths()
    back = tf.range(limit, dtype=tf.int64)
    row, step = tf.unstack(tf.where(_is_window(n[:, None], back[None, :], length)), axis=1)
    stop = tf.gather(n, row) - step * length
    start = tf.maximum(stop - 2 * length, 0)
    offset = tf.gather(rows[ITEM].row_starts(), row)
    taken = tf.ragged.range(offset + start, offset + stop)
    windows = {
        field: taken.with_values(tf.gather(values.values, taken.values))
        if field in EVENT_FIELDS
        else tf.gather(values, row)
        for field, values in rows.items()
    }
    return windows | {FIRST_TARGET: tf.where(start > 0, tf.constant(length, tf.int64), tf.constant(0, tf.int64))}
