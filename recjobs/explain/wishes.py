"""The content ideas of a finished night."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from recjobs import storage
from recjobs.columns import SEGMENT
from recjobs.errors import MissingInputError
from recjobs.evaluate.ideas import IDEAS_FILE, lacking
from recjobs.explain.finding import COMPOSE, find_night
from recjobs.settings import Settings


@dataclass(frozen=True)
class Wishes:
    """The ideas asked for, as rows of `ideas.parquet`, and the night they are of."""

    ds: date
    run: str
    rows: list[dict[str, Any]]


def wishes(settings: Settings, ds: date | None, segment: str | None, n: int) -> Wishes:
    """Up to `n` kinds of items for each segment that it wants more of than there is; `all` first, then by name.

    Kinds without a telling word, of items that nobody has described, are left out unless there are no others.

    Raises:
        MissingInputError: no such night, or it has no ideas for that segment.
    """
    night = find_night(settings, ds, None)
    composed = night.manifests[COMPOSE]
    with storage.reading(composed.uri(IDEAS_FILE)) as stream:
        table = pl.read_parquet(stream)
    if segment is not None:
        _require_segment(table, segment, night.ds)
        table = table.filter(pl.col(SEGMENT) == segment)
    best = lacking(table).group_by(SEGMENT, maintain_order=True).head(n)
    return Wishes(night.ds, composed.run, best.to_dicts())


def _require_segment(table: pl.DataFrame, segment: str, ds: date) -> None:
    known = table[SEGMENT].unique(maintain_order=True).to_list()
    if segment not in known:
        shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
        raise MissingInputError(
            f"--segment {segment}: no ideas for it on {ds}. A segment needs compose.segment_support users, and events "
            f"in the last compose.segment_window_days. There are: {shown}.",
            segment=segment,
        )
