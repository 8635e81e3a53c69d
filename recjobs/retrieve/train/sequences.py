"""Training sequences from TFRecord to batches of windows, without padding to the longest.

With L = `sequence_length`, a sequence is cut from its end into windows of 2 L events: the last L are
targets, the L before them are the history that the first of these is foreseen from. A window that
reaches the sequence's beginning has all its events as targets, the first one foreseen from the
empty history.

Files are parsed into blocks of bounded size. Where all fit into one it is kept, and no later epoch reads a
file; else an epoch goes through the blocks in an order of its own. The batches of an epoch are a function of the
seed and the epoch's number, whatever this process did before.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recjobs import columns
from recjobs.errors import CorruptFileError, ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.user_features import (
    CATEGORICAL,
    DEVICE,
    EVENT_FIELDS,
    ITEM,
    NO_COLUMNS,
    NUMERIC,
    SIDE_FIELDS,
    TOKENS,
    VECTORS,
    UserColumns,
)

Integers = npt.NDArray[np.int64]
Batch = dict[str, npt.NDArray[Any]]

FIRST_TARGET = "first_target"
"""The first event of a window that is a target; 0 only where the window starts with the user's first event."""
BLOCK_BYTES = 1 << 28
"""TFRecord files are held together up to this size on disk; parsed they take about twice that."""
_PARSE_BATCH = 512
_MIN_WIDTH = 4
_AHEAD = 4


@dataclass(frozen=True)
class Buckets:
    """Widths of windows that share a batch, and how many windows a batch of each width has."""

    widths: tuple[int, ...]
    batch_sizes: tuple[int, ...]

    def steps(self, windows_by_width: Integers) -> int:
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


@dataclass(frozen=True)
class Sequences:
    """Sequences of S users, one after the other.

    `lengths` int64[S]; `events` the event fields of all, integers[Σ lengths]; `texts` the side features as
    (values, index of each user's value); `user_index` int64[S]; `told` the inputs that further columns make, [S, …].
    """

    lengths: Integers
    events: dict[str, npt.NDArray[Any]]
    texts: dict[str, tuple[npt.NDArray[np.object_], npt.NDArray[np.int32]]]
    user_index: Integers
    told: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    @property
    def starts(self) -> Integers:
        """Where each sequence begins in `events`: int64[S]."""
        return np.cumsum(self.lengths) - self.lengths

    def side(self, rows: Integers) -> Batch:
        """The side features and user index of some users."""
        texts = {name: values[index[rows]] for name, (values, index) in self.texts.items()}
        told = {name: values[rows] for name, values in self.told.items()}
        return texts | told | {columns.USER_INDEX: self.user_index[rows]}

    def slices(self, starts: Integers, lengths: Integers) -> Batch:
        """The event fields from `starts` on, padded with 0 on the right to the longest: int64[rows, E]."""
        places = np.arange(int(lengths.max(initial=0)))
        real = places[None] < lengths[:, None]
        index = np.where(real, starts[:, None] + places[None], 0)
        return {name: np.where(real, values[index], 0).astype(np.int64) for name, values in self.events.items()}


def read_sequences(files: Sequence[str], further: UserColumns = NO_COLUMNS, *, devices: bool = False) -> Sequences:
    """The sequences of some files, in their order, with the inputs that `further` columns make.

    With `devices` each event has its `DEVICE`; of a file without any they are unknown.

    Raises:
        CorruptFileError: a record is no sequence.
    """
    records = (
        tf.data.TFRecordDataset(list(files))
        .batch(_PARSE_BATCH)
        .map(lambda batch: _parse(batch, further), num_parallel_calls=2)
    )
    try:
        parts = list(records.prefetch(2))
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
        raise CorruptFileError(f"training sequences in {files[0]} … can't be read: {error.message}.") from error
    events = {field: _narrow(_joined([part[field].values for part in parts], np.int64)) for field in EVENT_FIELDS}
    if devices:
        events[DEVICE] = _joined([_devices(part, files[0]) for part in parts], np.int64)
    return Sequences(
        lengths=_joined([part[ITEM].row_lengths() for part in parts], np.int64),
        events=events,
        texts={field: _encoded([part[field].numpy() for part in parts]) for field in SIDE_FIELDS},
        user_index=_joined([part[columns.USER_INDEX] for part in parts], np.int64),
        told={name: np.concatenate([part[name].numpy() for part in parts]) for name in further.inputs() if parts},
    )


def _devices(part: dict[str, Any], file: str) -> Any:
    """The device of each event of a batch of sequences: those of a file with devices have one each, others none."""
    lengths, expected = part[DEVICE].row_lengths(), part[ITEM].row_lengths()
    found = tf.where(lengths == 0, expected, lengths)
    if not bool(tf.reduce_all(found == expected)):
        raise CorruptFileError(f"training sequences in {file} …: some events have a device's place and some have none.")
    known = tf.repeat(lengths > 0, expected)
    return tf.tensor_scatter_nd_update(tf.zeros_like(part[ITEM].values), tf.where(known), part[DEVICE].values)


def _joined(parts: Sequence[Any], kind: type[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(0, kind), *(part.numpy() for part in parts)])


def _narrow(values: Integers) -> npt.NDArray[Any]:
    """The same numbers in four bytes where they fit."""
    return values.astype(np.int32) if values.max(initial=0) <= np.iinfo(np.int32).max else values


def _encoded(parts: Sequence[npt.NDArray[np.object_]]) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.int32]]:
    whole = pa.chunked_array([pa.array(part, pa.binary()) for part in parts], pa.binary())
    encoded = whole.combine_chunks().dictionary_encode()
    return np.array(encoded.dictionary.to_pylist(), object), encoded.indices.to_numpy(zero_copy_only=False)


def _parse(records: Any, further: UserColumns = NO_COLUMNS) -> dict[str, Any]:
    features: dict[str, Any] = {
        field: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64) for field in (*EVENT_FIELDS, DEVICE)
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
    vectors = dict.fromkeys(further.vectors, tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64))
    return {columns.told_field(name): feature for name, feature in (text | number | tokens | vectors).items()}


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
    if further.vectors:
        pairs = zip(of(further.vectors), further.widths, strict=True)
        made[VECTORS] = tf.concat([vectors.to_tensor(shape=[None, width]) for vectors, width in pairs], axis=1)
    return made


@dataclass(frozen=True)
class Windows:
    """Windows of a block: the sequence each is of, its place in `events`, its length, its `first_target`; int64[W]."""

    sequences: Sequences
    row: Integers
    start: Integers
    length: Integers
    first_target: Integers

    def batch(self, chosen: Integers) -> Batch:
        """The windows at those places: event fields int64[B, E], side features, `first_target`."""
        row = self.row[chosen]
        events = self.sequences.slices(self.start[chosen], self.length[chosen])
        return events | self.sequences.side(row) | {FIRST_TARGET: self.first_target[chosen]}


def windows_of(sequences: Sequences, length: int, limit: int) -> Windows:
    """The windows of each sequence, at most `limit`, the latest first."""
    n = sequences.lengths
    back = np.arange(min(limit, 1 + int(n.max(initial=0)) // length))
    row, step = np.nonzero((n[:, None] > (back + 1) * length) | ((back == 0) & (n[:, None] > 0)))
    stop = n[row] - step * length
    start = np.maximum(stop - 2 * length, 0)
    first_target = np.where(start > 0, length, 0)
    return Windows(sequences, row, sequences.starts[row] + start, stop - start, first_target)


class TrainingData:
    """The windows of some files, by epoch.

    Raises:
        ModelError: there is nothing to learn from.
        CorruptFileError: a record is no sequence.
    """

    def __init__(
        self,
        files: Sequence[str],
        config: RetrieveTrainConfig,
        seed: int,
        further: UserColumns = NO_COLUMNS,
        *,
        block: int = BLOCK_BYTES,
    ):
        self.config = config
        self.seed = seed
        self.further = further
        self.buckets = buckets_of(config)
        self._groups = _grouped(files, block)
        self._kept: Windows | None = None
        counts = [self._counts(windows) for windows in self.blocks()]
        self.windows = int(sum(count.sum() for count in counts))
        self.steps = sum(self.buckets.steps(count) for count in counts)
        if not self.windows:
            raise ModelError(
                "there are no training sequences: no user has an event with an item until train_until. "
                "Check the events' dates and the cutoffs."
            )

    def blocks(self, order: Sequence[int] | None = None) -> Iterator[Windows]:
        """The blocks, one at a time in memory, in `order` or that of the files."""
        for place in range(len(self._groups)) if order is None else order:
            yield self._block(place)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The epoch's batches: every window once. They follow from seed and epoch."""
        random = np.random.default_rng((self.seed, epoch))
        for windows in self.blocks(random.permutation(len(self._groups)).tolist()):
            for chosen in _shuffled(windows.length, self.buckets, random):
                yield windows.batch(chosen)

    def _block(self, place: int) -> Windows:
        if self._kept is not None:
            return self._kept
        sequences = read_sequences(self._groups[place], self.further, devices=DEVICE in self.config.context)
        windows = windows_of(sequences, self.config.sequence_length, self.config.windows_per_user)
        self._kept = windows if len(self._groups) == 1 else None
        return windows

    def _counts(self, windows: Windows) -> Integers:
        return np.bincount(windows.length, minlength=2 * self.config.sequence_length + 1)


def _grouped(files: Sequence[str], most: int) -> list[list[str]]:
    """The files in groups of at most `most` bytes, but always one file."""
    groups: list[list[str]] = []
    size = most
    for file in files:
        bytes_ = Path(file).stat().st_size
        if size + bytes_ > most or not groups:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += bytes_
    return groups


def _shuffled(lengths: Integers, buckets: Buckets, random: np.random.Generator) -> list[Integers]:
    """Batches of windows' places: those of one bucket together, in random order, the batches too."""
    order = random.permutation(len(lengths))
    bucket = np.searchsorted(buckets.widths, lengths[order])
    made: list[Integers] = []
    for place, size in enumerate(buckets.batch_sizes):
        members = order[bucket == place]
        made += [members[start : start + size] for start in range(0, len(members), size)]
    return [made[place] for place in random.permutation(len(made))]


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, made in a thread while the ones before are used. An error there is raised here."""
    made: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
    ended = threading.Event()

    def make() -> None:
        last: BaseException | None = None
        try:
            for batch in batches:
                if ended.is_set():
                    return
                made.put(batch)
        except BaseException as error:
            last = error
        made.put(last)

    threading.Thread(target=make, daemon=True, name="batches").start()
    try:
        while (batch := made.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        ended.set()
        while not made.empty():
            made.get_nowait()
