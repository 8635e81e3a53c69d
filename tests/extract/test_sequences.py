"""What is written without TensorFlow, read with it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recjobs.extract import stage
from recjobs.extract.histories import Timeline
from recjobs.extract.sequences import Told, varints, write_sequences
from tests.extract import reference
from tests.extract.streams import FIRST, Event, World, deliver, extract, moment, settings, without_beam

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def naive_varint(value: int) -> bytes:
    encoded = []
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_varints(values: list[int]) -> None:
    content, ends = varints(np.array(values, np.int64))
    expected = [naive_varint(value) for value in values]
    assert content.tobytes() == b"".join(expected)
    assert ends.tolist() == np.cumsum([len(each) for each in expected], dtype=np.int64).tolist()


def test_tensorflow_reads_the_sequences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(stage, "run_pass", without_beam)
    random = np.random.default_rng(3)
    users = ["dée", *(f"u{'x' * number}" for number in range(0, 300, 60))]
    rows = [
        Event(
            str(random.choice(users)),
            None if random.random() < 0.1 else f"item {random.integers(400)}",
            "search" if random.random() < 0.1 else "view",
            moment(int(random.integers(0, 5)), int(random.integers(0, 86_400))),
            arrived=5,
            country=str(random.choice(["GB", "São Tomé"])),
            device=random.choice(["phone", "Tür", None]),
        )
        for _ in range(1500)
    ]
    world = World(rows, users=[{"user_id": "nobody", "country": "FR"}, {"user_id": "u", "country": "DE"}])
    ds = FIRST + timedelta(days=5)
    deliver(tmp_path, world, 6)
    config = settings(tmp_path, extract__history_length=30, time__train_lag_days=2)
    manifest = extract(tmp_path, config, ds)
    found, indexes = {}, []
    for file in manifest.parts("sequences"):
        for record in tf.data.TFRecordDataset(file.uri).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            indexes += feature["user_index"].int64_list.value
            assert {feature[name].bytes_list.value[0] for name in ("region", "language", "age_band")} == {b""}
            found[feature["user_id"].bytes_list.value[0].decode()] = {
                **{name: list(feature[name].int64_list.value) for name in ("item", "type", "time", "device")},
                "country": feature["country"].bytes_list.value[0].decode(),
            }
    assert found == reference.sequences(world, config, ds)
    assert indexes == list(range(1, len(found) + 1))
    assert max(len(row["item"]) for row in found.values()) == 150


def test_tensorflow_reads_what_users_columns_say(tmp_path: Path) -> None:
    import tensorflow as tf

    users = pl.DataFrame(
        {"user_id": ["a", "b"], **{name: ["", None] for name in ("country", "region", "language", "age_band")}}
    )
    told = Told(
        texts={"hobby": pl.Series(["chess", None])},
        numbers={"age": pl.Series([1.5, None])},
        vectors={"face": pl.Series([None, [0.5, -2.0]], dtype=pl.List(pl.Float32))},
        tokens={"interests_tokens": pl.Series([[300, 2], []], dtype=pl.List(pl.Int32))},
    )
    once = np.zeros(2, np.int64)
    events = Timeline(2, np.arange(2), once.astype(np.int32) + 1, once.astype(np.int8), once)
    write_sequences(str(tmp_path / "part.tfrecord"), users, np.array([1, 2]), told, events, once + 1)
    records = tf.data.TFRecordDataset(str(tmp_path / "part.tfrecord")).as_numpy_iterator()
    first, second = (tf.train.Example.FromString(record).features.feature for record in records)
    assert first["user:hobby"].bytes_list.value[0] == b"chess"
    assert second["user:hobby"].bytes_list.value[0] == b""
    assert first["user:age"].float_list.value[0] == 1.5
    assert np.isnan(second["user:age"].float_list.value[0])
    assert list(first["user:face"].float_list.value) == []
    assert list(second["user:face"].float_list.value) == [0.5, -2.0]
    assert list(first["user:interests_tokens"].int64_list.value) == [300, 2]
    assert list(second["user:interests_tokens"].int64_list.value) == []
