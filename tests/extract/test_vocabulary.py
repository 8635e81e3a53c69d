from __future__ import annotations

import polars as pl

from recjobs import columns as c
from recjobs.extract.vocabulary import build_vocabulary, index_of

NAMES = (c.VOCABULARY_COLUMN, c.VOCABULARY_VALUE, c.VOCABULARY_COUNT)


def counted(*rows: tuple[str, str, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, list(NAMES), orient="row")


def test_indexes_follow_counts_and_then_values() -> None:
    counts = counted(("brand", "b", 1), ("brand", "c", 2), ("brand", "a", 1), ("brand", "b", 2), ("country", "FR", 1))
    assert build_vocabulary(counts, 10, {}).rows() == [
        ("brand", "b", 1, 3),
        ("brand", "c", 2, 2),
        ("brand", "a", 3, 1),
        ("country", "FR", 1, 1),
    ]


def test_only_the_most_frequent_tokens_are_kept() -> None:
    counts = counted(
        ("token", "oak", 3), ("token", "ash", 2), ("token", "elm", 2), ("brand", "x", 1), ("brand", "y", 1)
    )
    found = build_vocabulary(counts, 2, {})
    assert index_of(found, "token").rows() == [("oak", 1), ("ash", 2)]
    assert index_of(found, "brand").height == 2, "only tokens are limited"


def test_event_types_have_their_codes_also_without_events() -> None:
    found = build_vocabulary(counted(("event_type", "buy", 7)), 5, {"view": 1, "buy": 2})
    assert found.rows() == [("event_type", "view", 1, 0), ("event_type", "buy", 2, 7)]
