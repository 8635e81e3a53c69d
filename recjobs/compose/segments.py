"""Which segments a user is in, and what a segment is called.

A user's segments are nested: the first of `segment_by` the user has a value for, then the first two, and so on to
all of them. Columns without a value are passed over. Everybody is in `all`.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from recjobs.columns import SEGMENT
from recjobs.errors import SettingsError

LEVEL = "level"
SEPARATOR = "&"


def segment_levels(users: pl.DataFrame, segment_by: Sequence[str]) -> list[pl.Series]:
    """For each of `segment_by` the segment that its value completes, String[users]; null where it has none.

    A segment is named `column=value` pairs joined by `&`, in the order of `segment_by`.
    """
    key = pl.lit(None, pl.String)
    levels = []
    for column in segment_by:
        value = pl.col(column).cast(pl.String)
        pair = pl.concat_str(pl.lit(f"{column}="), value)
        key = (
            pl.when(value.is_null())
            .then(key)
            .otherwise(pl.concat_str(key, pair, separator=SEPARATOR, ignore_nulls=True))
        )
        levels.append(pl.when(value.is_not_null()).then(key).alias(f"{LEVEL} {column}"))
    return users.select(levels).get_columns() if levels else []


def membership(users: pl.DataFrame, segment_by: Sequence[str]) -> pl.DataFrame:
    """Rows (`row`, `segment`): every segment but `all` that each row of `users` is in."""
    empty = pl.DataFrame(schema={"row": pl.UInt32, SEGMENT: pl.String})
    rows = pl.int_range(users.height, dtype=pl.UInt32, eager=True).alias("row")
    found = [
        pl.DataFrame({"row": rows, SEGMENT: level}).filter(pl.col(SEGMENT).is_not_null())
        for level in segment_levels(users, segment_by)
    ]
    return pl.concat([empty, *found])


def own_segment(users: pl.DataFrame, segment_by: Sequence[str], supported: Sequence[str], fallback: str) -> pl.Series:
    """Each user's most specific segment among `supported`, else `fallback`. String[users]."""
    names = pl.Series(supported, dtype=pl.String).implode()
    levels = [pl.when(level.is_in(names)).then(level) for level in segment_levels(users, segment_by)]
    everybody = pl.repeat(fallback, users.height, dtype=pl.String)
    return pl.select(pl.coalesce(*reversed(levels), everybody).alias(SEGMENT)).to_series()


def spoken(segment: str) -> str:
    """A segment's name for a reader: its values, `GB, 25-34` for `country=GB&age_band=25-34`."""
    return ", ".join(pair.partition("=")[2] or pair for pair in segment.split(SEPARATOR))


def require_columns(available: Sequence[str], segment_by: Sequence[str]) -> None:
    """Raises SettingsError when a column of `segment_by` is no column of the user states."""
    for column in segment_by:
        if column not in available:
            raise SettingsError(
                f"compose.segment_by names {column!r}, which user states do not have; they have {sorted(available)}. "
                "Name one of these, or declare the column under [users].",
                column=column,
            )
