"""Repeated events: the first of a user's to arrive counts, the others wait for it to leave the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from recjobs import columns as c

_ROW, _SURVIVOR = "row", "survivor"


@dataclass(frozen=True)
class Arrived:
    """Events without their repetitions, and the repetitions that may outlive them."""

    events: pl.DataFrame
    """In the order they came."""
    waiting: pl.DataFrame
    """Repetitions of a later day than the event they repeat, by user and then as they came: once that one has left the
    window they count."""


def without_duplicates(arrived: pl.DataFrame, identity: Sequence[str]) -> Arrived:
    """The first of each user's events with equal `event_id`, or with none and equal `identity` columns.

    `arrived` is in the order of arrival. Two missing values of an identity column are equal. Without an id and
    identity nothing is a duplicate.
    """
    keys = (c.USER, c.EVENT_ID), tuple(dict.fromkeys((c.USER, *identity)))
    nulls = arrived[c.EVENT_ID].null_count()
    rows = arrived.with_row_index(_ROW)
    if nulls == 0:
        events, waiting = _first_of(rows, keys[0])
    elif nulls == arrived.height:
        events, waiting = _first_of(rows, keys[1]) if identity else (rows, rows.clear())
    else:
        with_id = pl.col(c.EVENT_ID).is_not_null()
        named, others = rows.filter(with_id), rows.filter(~with_id)
        halves = _first_of(named, keys[0]), _first_of(others, keys[1]) if identity else (others, others.clear())
        events, waiting = (pl.concat(both).sort(_ROW) for both in zip(*halves, strict=True))
    return Arrived(events.drop(_ROW), waiting.sort(c.USER, _ROW).drop(_ROW))


def _first_of(rows: pl.DataFrame, keys: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    first = rows.unique(keys, keep="first", maintain_order=True)
    if first.height == rows.height:
        return first, rows.clear()
    repeated = rows.join(first.select(_ROW), on=_ROW, how="anti", maintain_order="left")
    day = pl.col(c.TIMESTAMP).dt.date()
    survivors = first.select(*keys, day.alias(_SURVIVOR))
    dated = repeated.join(survivors, on=list(keys), how="left", nulls_equal=True, maintain_order="left")
    return first, dated.filter(day > pl.col(_SURVIVOR)).drop(_SURVIVOR)
