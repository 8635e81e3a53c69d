from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recjobs import columns as c
from recjobs.errors import SettingsError
from recjobs.extract.items import item_schema
from recjobs.extract.job import Job
from recjobs.manifest import cutoffs_of
from recjobs.names import tower_item_columns
from recjobs.retrieve.item_features import ItemFeatures, item_features
from recjobs.retrieve.train.blueprint import without_columns
from tests.planted import planted_settings

DS = date(2026, 3, 31)


def catalogue() -> pl.DataFrame:
    """Three items of which everything is known."""
    lists: Any = pl.List(pl.Int32)
    return pl.DataFrame(
        {
            c.ITEM: ["a", "b", "c"],
            c.ITEM_INDEX: [1, 2, 3],
            c.TRAIN_EVENTS: [5, 4, 3],
            c.TITLE: ["red pan", "blue pan", "cup"],
            c.TITLE_TOKENS: pl.Series([[1, 2], [3, 2], [4]], dtype=lists),
            c.CATEGORY: ["home/kitchen"] * 3,
            **{name: ["x", "y", "z"] for name in (c.BRAND, c.SELLER, c.LANGUAGE)},
            c.PRICE: [1.0, 2.0, 3.0],
            c.CREATED_AT: [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)],
            "look": pl.Series([[1.0, 0.0]] * 3, dtype=pl.List(pl.Float32)),
            "rating": [1.0, 2.0, 5.0],
        }
    )


def features(*ignored: str) -> ItemFeatures:
    items = without_columns(catalogue(), ignored, ["rating", "look"])
    return item_features(items, DS, buckets=1000, numeric=["rating"], vectors=["look"])


@pytest.mark.parametrize(
    ("column", "part", "width"),
    [
        (c.TITLE, "tokens", 0),
        (c.CATEGORY, "hashed", 3),
        (c.BRAND, "hashed", 4),
        (c.PRICE, "numeric", 4),
        (c.CREATED_AT, "numeric", 4),
        ("rating", "numeric", 4),
        ("look", "vectors", 0),
    ],
)
def test_the_towers_do_not_read_an_ignored_column(column: str, part: str, width: int) -> None:
    whole, without = features(), features(column)
    changed = {
        name
        for name in ("tokens", "hashed", "numeric", "vectors")
        if getattr(whole, name).shape != getattr(without, name).shape
    }
    assert changed == {part}
    assert getattr(without, part).shape == (4, width)


def test_without_any_column_nothing_but_the_id_is_known() -> None:
    every = (c.TITLE, c.CATEGORY, c.BRAND, c.SELLER, c.LANGUAGE, c.PRICE, c.CREATED_AT, "look", "rating")
    assert not features(*every).has_content


@pytest.mark.parametrize("column", ["colour", c.ITEM, c.TRAIN_EVENTS, c.TITLE_TOKENS, "rating"])
def test_what_the_towers_do_not_read_can_not_be_ignored(column: str) -> None:
    with pytest.raises(SettingsError, match=rf"ignored_item_columns: items have no column '{column}'. Known: brand"):
        without_columns(catalogue(), [column])


def test_what_settings_may_ignore_are_just_the_columns_that_the_towers_read(tmp_path: Path) -> None:
    declared = {
        "categorical": ["size", "brand"], "numeric": ["rating"], "text": ["blurb"], "vectors": ["look"],
    }  # fmt: skip
    settings = planted_settings(tmp_path, items={"path": "i", **declared})
    made = Job(DS, cutoffs_of(DS, train_lag_days=0, history_lag_days=0, label_days=1), "", settings)
    states = pl.DataFrame(pl.from_arrow(item_schema(made).empty_table()))
    told, further = tower_item_columns(settings.items), [name for names in declared.values() for name in names]
    without_columns(states, told, further)
    for name in {*states.columns} - {*told}:
        with pytest.raises(SettingsError, match=f"no column '{name}'"):
            without_columns(states, [name], further)
