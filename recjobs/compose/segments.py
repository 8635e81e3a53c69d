"""Which segments a user is in, and what a segment is called.

A user is in a segment for each subset of `segment_by` whose every column the user has a value for, and in `all`.
Their order, for everybody: more columns before fewer, and of as many those that stand earlier in `segment_by`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs.columns import AGE_BAND, COUNTRY, LANGUAGE, REGION, SEGMENT
from recjobs.errors import SettingsError

SEPARATOR = "&"

_PAIR = re.compile(rf"{SEPARATOR}(?=[^{SEPARATOR}=]+=)")
"""Between two pairs; a value may hold the separator too."""
_SPOKEN = {COUNTRY: "in {}", REGION: "in {}", AGE_BAND: "aged {}", LANGUAGE: "speaking {}"}
_ANY_COLUMN = "with {} {}"


def subsets(segment_by: Sequence[str]) -> list[tuple[str, ...]]:
    """Every subset of `segment_by` but the empty one, most specific first, columns in the order of `segment_by`."""
    return [chosen for size in range(len(segment_by), 0, -1) for chosen in combinations(segment_by, size)]


def segment_levels(users: pl.DataFrame, segment_by: Sequence[str]) -> list[pl.Series]:
    """For each of `subsets(segment_by)` the segment that its values make, String[users]; null where one is missing.

    A segment is named `column=value` pairs joined by `&`, in the order of `segment_by`.
    """
    levels = [
        pl.concat_str(
            [pl.format(f"{column}={{}}", pl.col(column).cast(pl.String)) for column in chosen], separator=SEPARATOR
        )
        for chosen in subsets(segment_by)
    ]
    named = [level.alias(f"level {place}") for place, level in enumerate(levels)]
    return users.select(named).get_columns() if named else []


def membership(users: pl.DataFrame, segment_by: Sequence[str]) -> pl.DataFrame:
    """Rows (`row`, `segment`): every segment but `all` that each row of `users` is in."""
    empty = pl.DataFrame(schema={"row": pl.UInt32, SEGMENT: pl.String})
    rows = pl.int_range(users.height, dtype=pl.UInt32, eager=True).alias("row")
    found = [
        pl.DataFrame({"row": rows, SEGMENT: level}).filter(pl.col(SEGMENT).is_not_null())
        for level in segment_levels(users, segment_by)
    ]
    return pl.concat([empty, *found])


def own_segments(users: pl.DataFrame, segment_by: Sequence[str], segments: Sequence[str]) -> npt.NDArray[np.int32]:
    """int32[users, subsets]: positions in `segments` of each user's segments, most specific first.

    Segments that are not among `segments` are left out: those that are stand first, and 0, the position of `all`,
    behind them.
    """
    codes = {name: code for code, name in enumerate(segments)}
    levels = [
        level.replace_strict(codes, default=0, return_dtype=pl.Int32).fill_null(0).to_numpy()
        for level in segment_levels(users, segment_by)
    ]
    if not levels:
        return np.zeros((users.height, 1), np.int32)
    table = np.stack(levels, axis=1)
    first = np.argsort(table == 0, axis=1, kind="stable")
    ordered: npt.NDArray[np.int32] = np.take_along_axis(table, first, axis=1).astype(np.int32)
    return ordered


def spoken(segment: str) -> str:
    """Who is in a segment, for a reader: `people in GB aged 25-34` for `country=GB&age_band=25-34`."""
    pairs = (pair.partition("=") for pair in _PAIR.split(segment))
    return " ".join(["people", *(_quality(column, value) for column, _, value in pairs)])


def _quality(column: str, value: str) -> str:
    return _SPOKEN[column].format(value) if column in _SPOKEN else _ANY_COLUMN.format(column, value)


def require_columns(available: Sequence[str], segment_by: Sequence[str]) -> None:
    """Raises SettingsError when a column of `segment_by` is no column of the user states."""
    for column in segment_by:
        if column not in available:
            raise SettingsError(
                f"compose.segment_by names {column!r}, which user states do not have; they have {sorted(available)}. "
                "Name one of these, or declare the column under [users].",
                column=column,
            )
