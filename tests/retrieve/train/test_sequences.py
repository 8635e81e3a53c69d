from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs import columns
from recjobs.errors import CorruptFileError, ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.sequences import FIRST_TARGET, batches, buckets_of, window_widths, windows
from recjobs.retrieve.user_features import ITEM


def write(path: Path, lengths: list[int]) -> list[str]:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for user, length in enumerate(lengths, start=1):
            values = {
                "item": range(1, length + 1),
                "type": [1] * length,
                "time": range(length),
                columns.USER_INDEX: [user],
            }
            feature = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=list(numbers)))
                for name, numbers in values.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return [str(path)]


@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6), length=st.integers(1, 9))
def test_every_event_is_the_target_of_one_window(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], length: int
) -> None:
    files = write(tmp_path_factory.mktemp("s") / "part-0.tfrecord", lengths)
    config = RetrieveTrainConfig(sequence_length=length, windows_per_user=50)
    targets: dict[int, list[int]] = {user: [] for user in range(1, len(lengths) + 1)}
    for row in windows(files, config).as_numpy_iterator():
        items, first = row[ITEM].tolist(), int(row[FIRST_TARGET])
        assert len(items) <= 2 * length
        assert items == list(range(items[0], items[0] + len(items)))
        assert (first == 0) == (items[0] == 1), "only a window from the beginning has the first event as a target"
        targets[int(row[columns.USER_INDEX])] += items[first:]
    assert {user: sorted(found) for user, found in targets.items()} == {
        user: list(range(1, n + 1)) for user, n in enumerate(lengths, start=1)
    }


@settings(max_examples=5, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_the_number_of_steps_is_known_beforehand(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    files = write(tmp_path_factory.mktemp("s") / "part-0.tfrecord", lengths)
    config = RetrieveTrainConfig(sequence_length=6, batch_size=5, positions_per_step=40)
    buckets = buckets_of(config)
    made = list(batches(files, config, buckets, seed=1).as_numpy_iterator())
    assert len(made) == buckets.steps(window_widths(files, config))
    assert all(batch[ITEM].size <= 40 for batch in made)


def test_a_limit_keeps_the_latest_windows(tmp_path: Path) -> None:
    files = write(tmp_path / "part-0.tfrecord", [30])
    config = RetrieveTrainConfig(sequence_length=5, windows_per_user=2)
    kept = [row[ITEM].tolist() for row in windows(files, config).as_numpy_iterator()]
    assert kept == [list(range(21, 31)), list(range(16, 26))]
    assert window_widths(files, config)[10] == 2


def test_order_follows_the_seed_and_changes_by_epoch(tmp_path: Path) -> None:
    files = write(tmp_path / "part-0.tfrecord", [7] * 60)
    config = RetrieveTrainConfig(sequence_length=6, batch_size=8)

    def users(dataset: object) -> list[int]:
        return np.concatenate([b[columns.USER_INDEX] for b in dataset.as_numpy_iterator()]).tolist()  # type: ignore[attr-defined]

    first, again = (batches(files, config, buckets_of(config), seed=3) for _ in range(2))
    orders = [users(first), users(first)]
    assert orders == [users(again), users(again)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_nothing_to_learn_from_is_an_error(tmp_path: Path) -> None:
    files = write(tmp_path / "part-0.tfrecord", [])
    with pytest.raises(ModelError, match="no training sequences"):
        window_widths(files, RetrieveTrainConfig())


def test_a_corrupt_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "part-0.tfrecord"
    path.write_bytes(b"no record at all, but long enough")
    with pytest.raises(CorruptFileError, match=r"part-0\.tfrecord"):
        window_widths([str(path)], RetrieveTrainConfig())
