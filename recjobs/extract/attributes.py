"""What is known of each user as of a date: from the newest snapshot, else from the latest event."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from recjobs import columns as c
from recjobs.extract.tokens import word_counts
from recjobs.sources.config import UsersSource
from recjobs.sources.contract import USER_COLUMNS, user_contract

FROM_EVENTS = (c.COUNTRY, c.REGION, c.LANGUAGE)
"""Attributes that events carry too."""
TRAINED = "trained"
LATEST_SCHEMA = pa.schema(
    [
        pa.field(c.USER, pa.string()),
        *(pa.field(name, pa.string()) for name in FROM_EVENTS),
        pa.field(TRAINED, pa.bool_()),
    ]
)
"""`latest/…/part-*.parquet`."""
TOLD_WORD = "told_word"
"""Words of users' texts in counts that are not added up yet; no column of the vocabulary."""
VOCABULARY_SCHEMA = {c.VOCABULARY_COLUMN: pl.String(), c.VOCABULARY_VALUE: pl.String(), c.VOCABULARY_COUNT: pl.Int64()}


def declared(source: UsersSource | None) -> tuple[list[str], list[str]]:
    """The further categorical and numeric columns that settings declare."""
    if source is None:
        return [], []
    known = {c.USER, *USER_COLUMNS}
    return [n for n in source.categorical if n not in known], [n for n in source.numeric if n not in known]


def snapshot_schema(source: UsersSource | None) -> dict[str, pl.DataType]:
    """The columns of a users snapshot, also of one that is not there."""
    return user_contract(source or UsersSource(path="")).dtypes()


def vocabulary_columns(source: UsersSource | None) -> list[str]:
    """User columns whose values are numbered in the vocabulary."""
    return [c.COUNTRY, c.REGION, c.LANGUAGE, c.AGE_BAND, *declared(source)[0]]


def text_columns(source: UsersSource | None) -> list[str]:
    """User columns whose words are tokens."""
    return list(dict.fromkeys([c.INTERESTS, *(source.text if source else ())]))


def vector_columns(source: UsersSource | None) -> list[str]:
    """User columns that hold ready-made vectors."""
    return [] if source is None else [name for name in dict.fromkeys(source.vectors) if name not in USER_COLUMNS]


def latest_of(events: pl.DataFrame) -> pl.DataFrame:
    """A row per user of `events` (canonical order), sorted by user: the latest value of each of FROM_EVENTS, `trained`.

    `trained` is true where the user has an event with an item.
    """
    latest = events.group_by(c.USER).agg(
        *(pl.col(name).drop_nulls().last() for name in FROM_EVENTS),
        pl.col(c.ITEM).is_not_null().any().alias(TRAINED),
    )
    return latest.sort(c.USER)


def joined(latest: pl.DataFrame, snapshot: pl.DataFrame) -> pl.DataFrame:
    """A row per user of the snapshot or of `latest`, sorted by user: the snapshot's columns and `trained`.

    A value that the snapshot has not is taken from `latest`.
    """
    known = snapshot.join(latest, on=c.USER, how="full", coalesce=True, suffix="_latest")
    return known.select(
        *(pl.coalesce(name, f"{name}_latest") if name in FROM_EVENTS else pl.col(name) for name in snapshot.columns),
        pl.col(TRAINED).fill_null(value=False),
    ).sort(c.USER)


def value_counts(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """How many rows have each value of each column (column, value, count); nulls are not counted."""
    counted = [
        frame.select(pl.lit(name).alias(c.VOCABULARY_COLUMN), pl.col(name).alias(c.VOCABULARY_VALUE))
        .drop_nulls()
        .group_by(c.VOCABULARY_COLUMN, c.VOCABULARY_VALUE)
        .agg(pl.len().cast(pl.Int64).alias(c.VOCABULARY_COUNT))
        .sort(c.VOCABULARY_VALUE)
        for name in columns
    ]
    return pl.concat(counted) if counted else pl.DataFrame(schema=VOCABULARY_SCHEMA)


def told_words(users: pl.DataFrame, source: UsersSource | None) -> pl.DataFrame:
    """How many texts of users have each word (column `TOLD_WORD`, value, count)."""
    return word_counts(users, text_columns(source), TOLD_WORD)


def with_told_words(counts: pl.DataFrame, least: int) -> pl.DataFrame:
    """`counts` with the words of at least `least` users' texts as tokens; rarer ones are left out.

    `counts` holds every shard's rows.
    """
    is_told = pl.col(c.VOCABULARY_COLUMN) == TOLD_WORD
    told = counts.filter(is_told).group_by(c.VOCABULARY_VALUE).agg(pl.col(c.VOCABULARY_COUNT).sum())
    common = told.filter(pl.col(c.VOCABULARY_COUNT) >= least)
    tokens = common.select(pl.lit(c.TOKEN).alias(c.VOCABULARY_COLUMN), c.VOCABULARY_VALUE, c.VOCABULARY_COUNT)
    return pl.concat([counts.filter(~is_told), tokens])
