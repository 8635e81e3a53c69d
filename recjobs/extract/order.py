"""Canonical order. It depends on the events alone, not on how they came together."""

from __future__ import annotations

import polars as pl

from recjobs import columns as c

ORDER = (c.USER, c.TIMESTAMP, c.EVENT_TYPE, c.ITEM)
"""Event types sort by their code, a missing item before all others."""
_TIES = (c.ARRIVAL_DATE, *(name for name in c.EVENT_SCHEMA.names if name not in {*ORDER, c.ARRIVAL_DATE}))
"""What orders events that are equal in ORDER: a missing value before all others."""
_PLACE = "place"


def in_order(events: pl.DataFrame) -> pl.DataFrame:
    """`events` in canonical order; those that are still equal are equal in everything."""
    ordered = events.sort(ORDER)
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in ORDER)
    tied = ordered.select(same | same.shift(-1, fill_value=False)).to_series()
    if not tied.any():
        return ordered
    # Few rows are tied: they alone are sorted by everything.
    placed = ordered.with_row_index(_PLACE)
    resolved = ordered.filter(tied).sort(*ORDER, *_TIES).insert_column(0, placed.filter(tied)[_PLACE])
    return pl.concat([placed.filter(~tied), resolved]).sort(_PLACE).drop(_PLACE)
