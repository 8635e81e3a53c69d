from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from recjobs import columns
from recjobs.errors import ModelError
from recjobs.retrieve.item_features import bucket_of, category_prefixes, item_features

DS = date(2026, 3, 31)
BUCKETS = 1000


def catalogue(**given: list[Any]) -> pl.DataFrame:
    rows = len(next(iter(given.values()))) if given else 3
    empty: dict[str, pl.Series] = {
        name: pl.Series([None] * rows, dtype=pl.String)
        for name in (columns.CATEGORY, columns.BRAND, columns.SELLER, columns.LANGUAGE)
    }
    empty[columns.PRICE] = pl.Series([None] * rows, dtype=pl.Float32)
    empty[columns.CREATED_AT] = pl.Series([None] * rows, dtype=pl.Datetime("us", "UTC"))
    empty[columns.TITLE_TOKENS] = pl.Series([[]] * rows, dtype=pl.List(pl.Int32))
    empty[columns.TRAIN_EVENTS] = pl.Series([1] * rows, dtype=pl.Int64)
    return pl.DataFrame(empty | given)


def test_a_bare_catalogue_has_no_content() -> None:
    features = item_features(catalogue(), DS, buckets=BUCKETS)
    assert features.items == 3
    assert not features.has_content


def test_category_counts_once_for_each_prefix() -> None:
    assert category_prefixes("home/ kitchen /pans") == ["home", "home/kitchen", "home/kitchen/pans"]
    features = item_features(catalogue(category=["a/b", "a", None]), DS, buckets=BUCKETS)
    a, ab = bucket_of(columns.CATEGORY, "a", BUCKETS), bucket_of(columns.CATEGORY, "a/b", BUCKETS)
    assert features.hashed.tolist() == [[0, 0], [a, ab], [a, 0], [0, 0]]


def test_equal_values_of_two_columns_are_two_features() -> None:
    features = item_features(catalogue(brand=["x"], colour=["x"]), DS, buckets=10**6, categorical=["colour"])
    assert features.hashed.shape == (2, 2)
    assert features.hashed[1, 0] != features.hashed[1, 1]


def test_price_is_standardised_and_missing_flagged() -> None:
    features = item_features(catalogue(price=[1.0, None, 100.0]), DS, buckets=BUCKETS)
    assert features.numeric[:, 1].tolist() == [0, 0, 1, 0]
    assert features.numeric[[1, 3], 0] == pytest.approx([-1, 1])
    assert features.numeric[2, 0] == 0


def test_age_grows_with_the_days_before_the_data_date() -> None:
    created = [
        datetime(2026, 3, 31, 12, tzinfo=UTC),
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2025, 1, 1, tzinfo=UTC),
    ]
    features = item_features(catalogue(created_at=created), DS, buckets=BUCKETS)
    assert (np.diff(features.numeric[1:, 0]) > 0).all()


def test_an_item_created_later_has_age_zero_not_an_error() -> None:
    created = [datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)]
    assert np.isfinite(item_features(catalogue(created_at=created), DS, buckets=BUCKETS).numeric).all()


def test_vectors_of_several_widths_are_an_error_that_names_the_column() -> None:
    with pytest.raises(ModelError, match=r"'image' have 2 and 3 numbers"):
        item_features(catalogue(image=[[1.0, 0.0], [1.0, 0.0, 0.0]]), DS, buckets=BUCKETS, vectors=["image"])


def test_ready_made_vectors_have_length_one_or_are_zero() -> None:
    items = catalogue(image=[[3.0, 4.0], None, [0.0, 2.0]])
    features = item_features(items, DS, buckets=BUCKETS, vectors=["image"])
    assert features.vectors == pytest.approx(np.array([[0, 0], [0.6, 0.8], [0, 0], [0, 1]]))


def test_further_texts_are_the_description_and_declared_ones_that_have_a_token() -> None:
    empty = pl.Series([[], []], dtype=pl.List(pl.Int32))
    items = catalogue(description_tokens=[[3, 4], []], care_tokens=[[], [5]], train_events=[1, 1])
    items = items.with_columns(empty.alias("label_tokens"))
    features = item_features(items, DS, buckets=BUCKETS, text=["label", "care", "gone"])
    assert [tokens.tolist() for tokens in features.texts] == [[[0, 0], [3, 4], [0, 0]], [[0], [0], [5]]]
    assert features.has_content


def test_warm_items_are_those_with_a_training_event_whatever_states_hold() -> None:
    features = item_features(catalogue(train_events=[9, 2, 0], n_events=[0, 3, 7]), DS, buckets=BUCKETS)
    assert features.counts.tolist() == [0, 9, 2, 0]
    assert features.warm == 2
