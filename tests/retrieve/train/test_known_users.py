from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recjobs import columns as c
from recjobs.errors import ModelError, SettingsError
from recjobs.manifest import Manifest, Output, cutoffs_of
from recjobs.retrieve.train.known_users import known_users
from recjobs.retrieve.user_features import UserColumns
from recjobs.sources.config import UsersSource

SOURCE = UsersSource(path="x", categorical=["city", "empty", "country"], numeric=["age", "gone"], text=["bio"])


def states_of(folder: Path, shards: list[dict[str, Any]]) -> Manifest:
    """Shards of user states: `age` and what else is given, index 0 for a user without a training event."""
    day = date(2026, 3, 31)
    cutoffs = cutoffs_of(day, train_lag_days=0, history_lag_days=0, label_days=1)
    out = Output("extract", day, "r", cutoffs, str(folder))
    types = {c.USER_INDEX: pl.Int32, "city": pl.String, "empty": pl.String, "age": pl.Float32}
    lists = {name: pl.List(pl.Int32) for name in ("interests_tokens", "bio_tokens")}
    for shard, rows in enumerate(shards):
        path = Path(out.uri("users", c.part_name(shard)))
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows, types | lists).write_parquet(path)
    return out.manifest(rows={})


def shard(
    index: list[int], age: list[float | None], tokens: list[list[int]], city: str | None = None
) -> dict[str, Any]:
    empty: list[Any] = [None] * len(index)
    return {
        c.USER_INDEX: index,
        "city": [city] * len(index),
        "empty": empty,
        "age": age,
        "interests_tokens": tokens,
        "bio_tokens": [[]] * len(index),
    }


def test_columns_with_a_value_are_kept_and_numbers_have_mean_and_deviation(tmp_path: Path) -> None:
    ages = [[20.0, None, float("nan"), 1e9], [40.0, 90.0, 33.0]]
    made = states_of(
        tmp_path,
        [shard([1, 2, 3, 0], ages[0], [[4], [5, 6], [], [1] * 9]), shard([4, 5, 6], ages[1], [[]] * 3, "Rome")],
    )
    known = known_users(made, SOURCE)
    assert known.largest == 6
    assert known.columns == UserColumns(("city",), ("age",), ("interests",), tokens=2)
    trained = np.array([20.0, 40.0, 90.0, 33.0])
    assert known.centre == pytest.approx([trained.mean()])
    assert known.deviation == pytest.approx([trained.std()])


def test_vectors_are_read_that_have_one_width(tmp_path: Path) -> None:
    made = states_of(tmp_path, [shard([1, 0], [1.0, 1.0], [[], []]), shard([2], [1.0], [[]])])
    source = UsersSource(path="x", vectors=["face", "unseen", "gone"])
    none: list[Any] = [None]
    for part, faces, unseen in (("00000", [*none, [1.0, 2.0]], [*none, [1.0]]), ("00001", [[3.0, 4.0]], none)):
        given = {
            name: pl.Series(name, rows, dtype=pl.List(pl.Float32))
            for name, rows in {"face": faces, "unseen": unseen}.items()
        }
        path = Path(made.uri("users", f"part-{part}.parquet"))
        pl.read_parquet(path).with_columns(*given.values()).write_parquet(path)
    known = known_users(made, source).columns
    assert (known.vectors, known.widths) == (("face",), (2,))
    wider = pl.read_parquet(path).with_columns(pl.Series("face", [[1.0, 2.0, 3.0]], dtype=pl.List(pl.Float32)))
    wider.write_parquet(path)
    with pytest.raises(ModelError, match="'face' have 2 and 3 numbers"):
        known_users(made, source)


def test_one_value_for_all_has_deviation_one(tmp_path: Path) -> None:
    known = known_users(states_of(tmp_path, [shard([1, 2], [7.0, 7.0], [[], []])]), SOURCE)
    assert known.columns == UserColumns(numeric=("age",))
    assert (known.centre.tolist(), known.deviation.tolist()) == ([7.0], [1.0])


def test_without_a_source_there_is_nothing_but_who_is_known(tmp_path: Path) -> None:
    known = known_users(states_of(tmp_path, [shard([1], [1.0], [[]])]), None)
    assert known.largest == 1
    assert known.columns == UserColumns()


def test_ignored_columns_are_left_out_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    made = states_of(tmp_path, [shard([1, 2], [20.0, 40.0], [[4], [5, 6]], "Rome")])
    known = known_users(made, SOURCE, ignored=["city", "interests", c.COUNTRY])
    assert known.columns == UserColumns((), ("age",), (), tokens=0)
    assert known.centre == pytest.approx([30.0])
    with pytest.raises(SettingsError, match=r"ignored_user_columns: users have no column 'town'. Known: .*city"):
        known_users(made, SOURCE, ignored=["town"])
