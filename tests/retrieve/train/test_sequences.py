from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs import columns
from recjobs.errors import CorruptFileError, ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.sequences import FIRST_TARGET, TrainingData, ahead, read_sequences, windows_of
from recjobs.retrieve.user_features import DEVICE, ITEM


def write(
    path: Path, lengths: list[int], countries: list[str] | None = None, first: int = 0, devices: bool = False
) -> list[str]:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for user, length in enumerate(lengths, start=first + 1):
            values = {
                "item": range(1, length + 1),
                "type": [1] * length,
                "time": range(length),
                columns.USER_INDEX: [user],
                **({"device": [2**32 - user] * length} if devices else {}),
            }
            feature = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=list(numbers)))
                for name, numbers in values.items()
            }
            if countries:
                text = tf.train.BytesList(value=[countries[user - first - 1].encode()])
                feature[columns.COUNTRY] = tf.train.Feature(bytes_list=text)
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return [str(path)]


@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6), length=st.integers(1, 9))
def test_every_event_is_the_target_of_one_window(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], length: int
) -> None:
    files = write(tmp_path_factory.mktemp("s") / "part-0.tfrecord", lengths)
    windows = windows_of(read_sequences(files), length, 50)
    targets: dict[int, list[int]] = {user: [] for user in range(1, len(lengths) + 1)}
    for place in range(len(windows.row)):
        row = windows.batch(np.array([place]))
        items, first = row[ITEM][0].tolist(), int(row[FIRST_TARGET][0])
        assert len(items) <= 2 * length
        assert items == list(range(items[0], items[0] + len(items)))
        assert (first == 0) == (items[0] == 1), "only a window from the beginning has the first event as a target"
        targets[int(row[columns.USER_INDEX][0])] += items[first:]
    assert {user: sorted(found) for user, found in targets.items()} == {
        user: list(range(1, n + 1)) for user, n in enumerate(lengths, start=1)
    }


@settings(max_examples=5, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_the_number_of_steps_is_known_beforehand(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    files = write(tmp_path_factory.mktemp("s") / "part-0.tfrecord", lengths)
    config = RetrieveTrainConfig(sequence_length=6, batch_size=5, positions_per_step=40)
    data = TrainingData(files, config, seed=1)
    made = list(data.batches(1))
    assert len(made) == data.steps
    assert sum(len(batch[ITEM]) for batch in made) == data.windows
    assert all(batch[ITEM].size <= 40 for batch in made)


def test_a_limit_keeps_the_latest_windows(tmp_path: Path) -> None:
    windows = windows_of(read_sequences(write(tmp_path / "part-0.tfrecord", [30])), 5, 2)
    kept = windows.batch(np.array([0, 1]))[ITEM].tolist()
    assert kept == [list(range(21, 31)), list(range(16, 26))]


def test_padding_is_on_the_right_and_texts_are_those_of_the_sources(tmp_path: Path) -> None:
    windows = windows_of(read_sequences(write(tmp_path / "part-0.tfrecord", [2, 4], ["FR", ""])), 5, 2)
    batch = windows.batch(np.array([1, 0]))
    assert batch[ITEM].tolist() == [[1, 2, 3, 4], [1, 2, 0, 0]]
    assert batch[columns.COUNTRY].tolist() == [b"", b"FR"]
    assert batch[columns.REGION].tolist() == [b"", b""]


def users_of(data: TrainingData, epoch: int) -> list[int]:
    return np.concatenate([batch[columns.USER_INDEX] for batch in data.batches(epoch)]).tolist()


@pytest.mark.parametrize("block", [1, 1 << 30])
def test_order_follows_seed_and_epoch_alone(tmp_path: Path, block: int) -> None:
    files = [write(tmp_path / f"part-{part}.tfrecord", [7] * 20, first=20 * part)[0] for part in range(3)]
    config = RetrieveTrainConfig(sequence_length=6, batch_size=8)

    def data(seed: int) -> TrainingData:
        return TrainingData(files, config, seed, block=block)

    one = data(3)
    first, second = users_of(one, 1), users_of(one, 2)
    assert users_of(data(3), 2) == second, "the second epoch does not need the first"
    assert users_of(one, 1) == first
    assert first != second
    assert first != users_of(data(4), 1)
    assert sorted(first) == sorted(second) == list(range(1, 61))
    assert one.steps == len(list(one.batches(1))) == len(list(one.batches(2)))


def test_what_fits_is_read_once(tmp_path: Path) -> None:
    files = write(tmp_path / "part-0.tfrecord", [7] * 20)
    data = TrainingData(files, RetrieveTrainConfig(), seed=1)
    Path(files[0]).unlink()
    assert sorted(users_of(data, 1)) == list(range(1, 21))


def test_an_error_in_the_thread_that_makes_batches_is_raised_where_they_are_used() -> None:
    def failing() -> Iterator[Any]:
        yield {"n": np.zeros(1)}
        raise CorruptFileError("part-7 can't be read")

    made = ahead(failing())
    assert next(made)["n"].tolist() == [0]
    with pytest.raises(CorruptFileError, match="part-7"):
        next(made)


def test_nothing_to_learn_from_is_an_error(tmp_path: Path) -> None:
    files = write(tmp_path / "part-0.tfrecord", [])
    with pytest.raises(ModelError, match="no training sequences"):
        TrainingData(files, RetrieveTrainConfig(), 1)


def test_a_corrupt_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "part-0.tfrecord"
    path.write_bytes(b"no record at all, but long enough")
    with pytest.raises(CorruptFileError, match=r"part-0\.tfrecord"):
        TrainingData([str(path)], RetrieveTrainConfig(), 1)


def test_events_have_their_device_and_those_of_a_file_without_any_an_unknown_one(tmp_path: Path) -> None:
    files = [*write(tmp_path / "a", [1, 2], devices=True), *write(tmp_path / "b", [2], first=2)]
    found = read_sequences(files, devices=True)
    assert found.events[DEVICE].tolist() == [2**32 - 1, 2**32 - 2, 2**32 - 2, 0, 0]
    batch = windows_of(found, 3, 9).batch(np.array([0, 1, 2]))
    assert batch[DEVICE].tolist() == [[2**32 - 1, 0], [2**32 - 2] * 2, [0, 0]]
    assert DEVICE not in read_sequences(files).events
