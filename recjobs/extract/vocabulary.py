"""The vocabulary: every value that has an index, counted over items, users and events."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from recjobs import columns as c


def build_vocabulary(counts: pl.DataFrame, token_limit: int, event_codes: Mapping[str, int]) -> pl.DataFrame:
    """`vocabulary.parquet`: the values of each column with index and count, by column and index.

    `counts` has (column, value, count) rows; rows of one value are added up. Indexes are 1… by count
    descending, then value; event types have their code instead, and all declared ones are there.
    Tokens beyond `token_limit` are left out.
    """
    total = counts.group_by(c.VOCABULARY_COLUMN, c.VOCABULARY_VALUE).agg(pl.col(c.VOCABULARY_COUNT).sum())
    keys = [c.VOCABULARY_COLUMN, c.VOCABULARY_COUNT, c.VOCABULARY_VALUE]
    ranked = (
        total.filter(pl.col(c.VOCABULARY_COLUMN) != c.EVENT_TYPE)
        .sort(keys, descending=[False, True, False])
        .with_columns(pl.int_range(1, pl.len() + 1).over(c.VOCABULARY_COLUMN).alias(c.VOCABULARY_INDEX))
        .filter((pl.col(c.VOCABULARY_COLUMN) != c.TOKEN) | (pl.col(c.VOCABULARY_INDEX) <= token_limit))
    )
    return pl.concat([_ordered(ranked), _ordered(_event_types(total, event_codes))]).sort(
        c.VOCABULARY_COLUMN, c.VOCABULARY_INDEX
    )


def _ordered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        c.VOCABULARY_COLUMN,
        c.VOCABULARY_VALUE,
        pl.col(c.VOCABULARY_INDEX).cast(pl.Int32),
        pl.col(c.VOCABULARY_COUNT).cast(pl.Int64),
    )


def _event_types(total: pl.DataFrame, codes: Mapping[str, int]) -> pl.DataFrame:
    coded = pl.DataFrame(
        {c.VOCABULARY_VALUE: list(codes), c.VOCABULARY_INDEX: list(codes.values())},
        schema={c.VOCABULARY_VALUE: pl.String, c.VOCABULARY_INDEX: pl.Int32},
    )
    counted = total.filter(pl.col(c.VOCABULARY_COLUMN) == c.EVENT_TYPE).drop(c.VOCABULARY_COLUMN)
    return coded.join(counted, on=c.VOCABULARY_VALUE, how="left").with_columns(
        pl.lit(c.EVENT_TYPE).alias(c.VOCABULARY_COLUMN), pl.col(c.VOCABULARY_COUNT).fill_null(0)
    )


def index_of(vocabulary: pl.DataFrame, column: str) -> pl.DataFrame:
    """The values of one column with their index."""
    return vocabulary.filter(pl.col(c.VOCABULARY_COLUMN) == column).select(c.VOCABULARY_VALUE, c.VOCABULARY_INDEX)
