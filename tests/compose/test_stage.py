"""The whole stage on planted data: what is written, what is refused, and that it comes out the same twice."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from recjobs import columns, storage
from recjobs.columns import ITEM, REASON, REGIME, SCORE, USER
from recjobs.compose import stage
from recjobs.compose.ideas import IDEA_SCHEMA
from recjobs.errors import CorruptFileError, GiveUpError, ModelError, SettingsError
from recjobs.manifest import Inputs, Manifest
from recjobs.settings import Settings
from tests.compose.planted_candidates import output, planted_inputs, write_scored
from tests.planted import Planted, planted_extract, planted_settings

SECTIONS = ("compose", "items", "users", "beam", "extract")
SMALL = Planted(users=24, items=12, events_per_user=6)


def made(folder: Path, planted: Planted = SMALL, **overrides: Any) -> tuple[Settings, Inputs]:
    extract = planted_extract(folder, planted, sequences=False)
    settings = planted_settings(folder, planted, **overrides)
    return settings, planted_inputs(folder, extract, settings, candidates=8)


def composed(folder: Path, settings: Settings, inputs: Inputs) -> Manifest:
    done = stage.run(inputs, settings.view(SECTIONS), output(folder, "compose", inputs))
    assert [check.name for check in done.checks if not check.passed and check.severity == "refuse"] == []
    return done


def lists_of(done: Manifest, surface: str = "home") -> pl.DataFrame:
    return pl.concat([pl.read_parquet(part.uri) for part in done.parts("lists", surface)])


def change_items(inputs: Inputs, **values: Any) -> None:
    """Sets columns of the planted items."""
    uri = inputs["extract"].uri("items.parquet")
    pl.read_parquet(uri).with_columns(**values).write_parquet(uri)


def test_planted_tastes_come_through(tmp_path: Path) -> None:
    settings, inputs = made(
        tmp_path,
        Planted(users=40, items=40),
        compose__surfaces={
            "home": {"length": 6, "no_repeat": []},
            "email": {"length": 3, "no_repeat": ["purchase", "view"]},
        },
    )
    done = composed(tmp_path, settings, inputs)
    lists = lists_of(done)
    assert lists.height == 40
    assert lists[ITEM].list.len().unique().to_list() == [6]
    long = lists.select(USER, ITEM).explode(ITEM)
    same = long[USER].str.slice(1).cast(pl.Int32) % 4 == long[ITEM].str.slice(1).cast(pl.Int32) % 4
    assert same.mean() == 1.0
    states = pl.concat([pl.read_parquet(part.uri) for part in inputs["extract"].parts("users")])
    names = pl.read_parquet(inputs["extract"].uri("items.parquet")).select(ITEM, columns.ITEM_INDEX)
    had = (
        states.select(USER, columns.PAIR_ITEM)
        .explode(columns.PAIR_ITEM)
        .join(names, left_on=columns.PAIR_ITEM, right_on=columns.ITEM_INDEX)
    )
    email = lists_of(done, "email")
    assert email[ITEM].list.len().unique().to_list() == [3]
    assert email.select(USER, ITEM).explode(ITEM).join(had, on=[USER, ITEM]).height == 0
    assert done.rows == {
        "users": 40,
        "cold users": 0,
        "lists/home": 240,
        "lists/email": 120,
        "items": 40,
        "segments": 4,
        "eligible items": 40,
    }


def test_files_have_the_schemas_of_the_contract(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path)
    done = composed(tmp_path, settings, inputs)
    for folder, schema in (
        ("lists/home", columns.LIST_SCHEMA),
        ("items", columns.ITEM_LIST_SCHEMA),
        ("segments/home", columns.SEGMENT_LIST_SCHEMA),
    ):
        for part in done.parts(folder):
            assert pq.read_schema(part.uri).equals(schema), folder
    users = [part.name for part in inputs["extract"].parts("users")]
    assert [part.name for part in done.parts("lists", "home")] == users
    segments = pl.read_parquet(done.uri("segments", "home", columns.part_name(0)))
    assert segments[columns.SEGMENT].to_list() == ["all", "country=DE", "country=FR", "country=GB"]
    assert segments[ITEM].list.len().unique().to_list() == [10]
    ideas = pl.read_parquet(done.uri("ideas.parquet"))
    assert pq.read_schema(done.uri("ideas.parquet")).equals(IDEA_SCHEMA)
    assert ideas[columns.SEGMENT].unique(maintain_order=True).to_list() == segments[columns.SEGMENT].to_list()
    assert ideas.group_by(columns.SEGMENT).agg(pl.col("items").sum())["items"].unique().to_list() == [12]
    leftovers = {file.name.split("/")[0] for file in storage.list_files(done.folder)}
    assert leftovers == {"lists", "items", "segments", "steps.json", "popularity.parquet", "ideas.parquet"}


def test_twice_the_same_bytes_and_blocks_make_no_difference(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path)
    first = composed(tmp_path / "first", settings, inputs)
    blocks = planted_settings(tmp_path, SMALL, compose__block_users=5)
    second, in_blocks = composed(tmp_path / "second", settings, inputs), composed(tmp_path / "third", blocks, inputs)
    for file in storage.list_files(first.folder):
        assert storage.read_bytes(file.uri) == storage.read_bytes(second.uri(file.name)), file.name
    assert lists_of(first).equals(lists_of(in_blocks))
    assert first.metrics == in_blocks.metrics


def test_steps_add_up_to_the_lists(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path, compose__cold_threshold=7, compose__exclude_items=["i0003"])
    done = composed(tmp_path, settings, inputs)
    steps = json.loads(storage.read_bytes(done.uri("steps.json")))["home"]
    assert list(steps) == ["cold_items", "eligibility", "no_repeat", "score", "cold_start", "fill", "reasons"]
    rows = 24 * 8
    for name, counts in steps.items():
        assert counts["rows_in"] == rows, name
        rows += counts["added"] - counts["removed"]
    assert rows == done.rows["lists/home"] == 24 * 10
    assert done.metrics["home/fill/added"] == steps["fill"]["added"]
    assert steps["eligibility"]["removed"] > 0
    assert lists_of(done)[REGIME].unique().to_list() == ["cold"]
    assert "i0003" not in lists_of(done)[ITEM].explode().to_list()
    assert done.rows["cold users"] == 24


def test_similar_lists_leave_out_what_may_not_be_shown(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path, compose__exclude_items=["i0004"], compose__item_length=1)
    done = composed(tmp_path, settings, inputs)
    similar = pl.read_parquet(done.uri("items", columns.part_name(0)))
    by_item = dict(similar.select(ITEM, columns.SIMILAR_ITEM).iter_rows())
    assert set(by_item["i0000"]) == {"i0008"}
    assert set(by_item["i0004"]) == {"i0000", "i0008"}
    assert similar.select(pl.col(SCORE).list.len() == pl.col(columns.SIMILAR_ITEM).list.len()).to_series().all()


def test_no_reasons_when_settings_want_none(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path, compose__reasons="none")
    done = composed(tmp_path, settings, inputs)
    assert lists_of(done)[REASON].explode().unique().to_list() == [""]


# -- hostile catalogues


def test_three_items(tmp_path: Path) -> None:
    settings, inputs = made(
        tmp_path, Planted(users=12, items=4, groups=4, events_per_user=3), compose__exclude_items=["i0000"]
    )
    lists = lists_of(composed(tmp_path, settings, inputs))
    assert {tuple(sorted(items)) for items in lists[ITEM].to_list()} == {("i0001", "i0002", "i0003")}


def test_all_but_one_unavailable(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path)
    change_items(inputs, available=pl.col(ITEM) == "i0005")
    done = composed(tmp_path, settings, inputs)
    assert lists_of(done)[ITEM].to_list() == [["i0005"]] * 24
    assert any("no-repeat gave way" in note for note in done.notes)


def test_nothing_to_show_says_so(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path)
    change_items(inputs, available=pl.lit(False))
    with pytest.raises(GiveUpError, match=r"none of the 12 items in .*items\.parquet may be shown.*exclude_items"):
        composed(tmp_path, settings, inputs)


def test_nothing_but_excluded_items_says_so(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path, compose__exclude_items=[f"i{number:04d}" for number in range(12)])
    with pytest.raises(GiveUpError, match=r"unavailable or among the 12 of compose\.exclude_items"):
        composed(tmp_path, settings, inputs)


def test_one_user_leaves_a_shard_empty(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path, Planted(users=1, items=12))
    done = composed(tmp_path, settings, inputs)
    assert [pl.read_parquet(part.uri).height for part in done.parts("lists", "home")] in ([1, 0], [0, 1])
    assert done.rows["users"] == 1


def test_users_without_candidates_get_what_is_popular(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path)
    for part in inputs["rank/score"].parts("scored"):
        users = pl.read_parquet(part.uri)[USER].to_list()
        write_scored(part.uri, users, [[]] * len(users), [[]] * len(users), settings)
    done = composed(tmp_path, settings, inputs)
    lists = lists_of(done)
    assert lists[ITEM].list.len().unique().to_list() == [10]
    assert np.isfinite(lists[SCORE].explode().to_numpy()).all()
    assert done.metrics["home/from model"] == 0


# -- inputs that do not belong together


def test_a_score_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path)
    part = inputs["rank/score"].parts("scored")[0]
    users = pl.read_parquet(part.uri)[USER].to_list()
    write_scored(part.uri, users, [[1, 2]] * len(users), [[1.0, float("nan")]] * len(users), settings)
    with pytest.raises(ModelError, match=rf"{len(users)} of {2 * len(users)} scores are not finite"):
        composed(tmp_path, settings, inputs)


def test_scores_of_other_users_are_refused(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path)
    part = inputs["rank/score"].parts("scored")[1]
    write_scored(part.uri, ["stranger"], [[1]], [[1.0]], settings)
    with pytest.raises(CorruptFileError, match=r"part-00001\.parquet \(1 users\) is not of the users in"):
        composed(tmp_path, settings, inputs)


def test_a_missing_part_is_refused(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path)
    Path(inputs["rank/score"].parts("scored")[1].uri).unlink()
    with pytest.raises(CorruptFileError, match=r"2 parts and .* 1: they are not of one run"):
        composed(tmp_path, settings, inputs)


def test_an_unknown_event_type_is_named(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path, compose__surfaces={"home": {"no_repeat": ["buy"]}})
    with pytest.raises(SettingsError, match=r"surfaces\.home\.no_repeat names 'buy'.*\['purchase', 'view'\]"):
        composed(tmp_path, settings, inputs)


def test_new_items_are_called_new_for_new_days(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path, compose__new_days=14)
    born = pl.when(pl.col(ITEM) == "i0001").then(pl.datetime(2026, 3, 18, time_zone="UTC"))
    born = born.when(pl.col(ITEM) == "i0002").then(pl.datetime(2026, 3, 17, 23, 59, 59, time_zone="UTC"))
    born = born.when(pl.col(ITEM) == "i0003").then(pl.datetime(2026, 4, 1, time_zone="UTC"))
    change_items(inputs, created_at=born.otherwise(pl.datetime(2026, 1, 1, time_zone="UTC")))
    assert inputs.ds == date(2026, 3, 31)
    catalogue = stage.load_catalogue(inputs["extract"].uri("items.parquet"), settings.compose, inputs.ds)
    assert catalogue.item_id.filter(pl.Series(catalogue.new)).to_list() == ["i0001"]


def test_inputs_are_left_as_they_were(tmp_path: Path) -> None:
    settings, inputs = made(tmp_path)
    before = {
        name: [storage.digest(file.uri) for file in storage.list_files(done.folder)]
        for name, done in inputs.manifests.items()
    }
    composed(tmp_path, settings, replace(inputs))
    after = {
        name: [storage.digest(file.uri) for file in storage.list_files(done.folder)]
        for name, done in inputs.manifests.items()
    }
    assert before == after
