from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from recjobs.rank.relations.content import item_words


def alike(**texts: Any) -> Any:
    """The cosines of three items with themselves and each other, after the unknown one."""
    columns = {"title_tokens": [[], [], []], "category": [None] * 3, "brand": [None] * 3, **texts}
    schema: dict[str, Any] = {"title_tokens": pl.List(pl.Int32), "category": pl.String, "brand": pl.String}
    words = item_words(pl.DataFrame(columns, schema_overrides=schema))
    return (words @ words.T).toarray()


def test_the_same_words_are_1_and_no_common_word_is_0() -> None:
    found = alike(title_tokens=[[1, 2], [2, 1], [3]])
    assert found[1, 2] == pytest.approx(1.0)
    assert found[1, 3] == 0


def test_the_unknown_item_and_one_without_words_are_like_nothing() -> None:
    found = alike(title_tokens=[[1], [], [2]])
    assert not found[0].any()
    assert not found[2].any()


def test_a_rare_word_in_common_says_more_than_a_frequent_one() -> None:
    found = alike(title_tokens=[[1, 2, 5], [1, 3], [2, 4]], brand=["a", "b", "a"])
    assert found[1, 3] > found[1, 2] > 0


def test_a_word_that_all_have_says_nothing() -> None:
    found = alike(category=["toys"] * 3, title_tokens=[[1], [2], [3]])
    np.testing.assert_allclose(found[1:, 1:], np.eye(3), atol=1e-6)
