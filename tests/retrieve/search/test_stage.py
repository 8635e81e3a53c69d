from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from recjobs import columns
from tests.retrieve.nights import COLD_ITEMS, COLD_USERS, Night, search, settings_of, share_of_own_group


def test_candidates_are_of_the_users_taste_far_above_popularity(night: Night) -> None:
    candidates, groups = night.candidates(), night.group_of_item()
    popular = np.mean([groups[index] == 0 for index in range(1, 11)])
    share = share_of_own_group(candidates, groups, range(COLD_USERS.start))
    assert share > 0.9 > 0.6 > popular


def test_a_user_without_events_is_served_by_country(night: Night) -> None:
    assert share_of_own_group(night.candidates(), night.group_of_item(), COLD_USERS) > 0.8


def test_an_item_without_events_is_placed_by_its_content(night: Night) -> None:
    items = pl.read_parquet(night.extract.uri("items.parquet"))
    index = dict(items.select(columns.ITEM, columns.ITEM_INDEX).iter_rows())
    similar = pl.read_parquet(night.search.uri("similar.parquet"))
    nearest = dict(similar.select(columns.ITEM_INDEX, columns.SIMILAR_INDEX).iter_rows())
    groups = night.group_of_item()
    shares = [
        np.mean([groups[other] == number % 3 for other in nearest[index[f"i{number:04d}"]]]) for number in COLD_ITEMS
    ]
    assert np.mean(shares) > 0.9


def test_every_user_has_k_candidates_best_first_and_none_twice(night: Night) -> None:
    for users, part in zip(night.extract.parts("users"), night.search.parts("candidates"), strict=True):
        table = pq.read_table(part.uri)
        assert table.schema == columns.CANDIDATE_SCHEMA
        assert table[columns.USER].to_pylist() == pl.read_parquet(users.uri)[columns.USER].to_list()
        for row in table.to_pylist():
            assert len(row[columns.ITEM_INDEX]) == len(set(row[columns.ITEM_INDEX])) == 20
            assert row[columns.SCORE] == sorted(row[columns.SCORE], reverse=True)
            assert set(row[columns.SOURCE]) == {columns.source_bit("towers")}
            assert row[columns.source_score("towers")] == row[columns.SCORE]
            assert [row[columns.source_score(name)] for name in columns.SCORED_SOURCES[1:]] == [None] * 5


def test_scores_are_the_dot_products_of_the_stored_vectors(night: Night) -> None:
    items = np.array(pl.read_parquet(night.search.uri("item_vectors.parquet"))[columns.VECTOR].to_list())
    part = night.search.parts("candidates")[0]
    users = np.array(pl.read_parquet(night.search.uri("user_vectors", part.name))[columns.VECTOR].to_list())
    table = pl.read_parquet(part.uri)
    chosen = np.array(table[columns.ITEM_INDEX].to_list()) - 1
    expected = np.einsum("ukd,ud->uk", items[chosen], users)
    assert np.array(table[columns.SCORE].to_list()) == pytest.approx(expected, abs=1e-5)


def test_the_manifest_says_what_was_searched(night: Night) -> None:
    assert night.search.rows == {"users": 150, "items": 60, "searched_items": 60}
    metrics = dict(night.search.metrics)
    # The whole stage is slower than the search alone, and its seconds are told in parts.
    assert 0 < metrics["users_per_second"] < metrics.pop("search_users_per_second")
    assert metrics.pop("users_per_second") == pytest.approx(150 / sum(night.search.timings.values()))
    told = {"recall": 1.0, "candidates": 20.0, "share_towers": 1.0, "alone_towers": 1.0}
    assert {name: value for name, value in metrics.items() if value} == told
    assert all(check.passed for check in night.search.checks)
    audit = json.loads(Path(night.search.uri("audit.json")).read_text())
    assert (audit["method"], audit["recall"], audit["users"]) == ("exact", 1.0, 150)


def test_the_same_inputs_give_the_same_files(night: Night, tmp_path: Path) -> None:
    again = search(night.extract, night.train, night.settings, tmp_path)
    names = [part.name for part in night.search.parts() if part.name.endswith(".parquet")]
    assert len(names) == 6
    for name in names:
        assert Path(again.uri(name)).read_bytes() == Path(night.search.uri(name)).read_bytes(), name


def test_unavailable_items_are_nobodys_candidates_but_have_vectors(night: Night, tmp_path: Path) -> None:
    folder = tmp_path / "extract"
    (folder / "users").mkdir(parents=True)
    for part in night.extract.parts("users"):
        (folder / "users" / part.name).symlink_to(part.uri)
    items = pl.read_parquet(night.extract.uri("items.parquet"))
    gone = pl.col(columns.ITEM_INDEX) % 4 == 1
    items.with_columns((~gone).alias(columns.AVAILABLE)).write_parquet(folder / "items.parquet")
    extract = night.extract.model_copy(update={"folder": str(folder)})
    settings = settings_of(tmp_path, retrieve__search__candidates=500)
    done = search(extract, night.train, settings, tmp_path / "search")
    lists = pl.concat([pl.read_parquet(part.uri) for part in done.parts("candidates")])[columns.ITEM_INDEX].to_list()
    assert done.rows["searched_items"] == 45
    expected = [index for index in range(1, 61) if index % 4 != 1]
    assert all(sorted(row) == expected for row in lists), "all available items, as K is above their number"
    assert pl.read_parquet(done.uri("item_vectors.parquet")).height == 60
