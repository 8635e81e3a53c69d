"""What each candidate source is worth: the outcomes it found, and those that nobody else did.

For judging after the fact: outcomes lie after the night that made the candidates, so no stage reads them.
"""

from __future__ import annotations

import polars as pl

from recjobs import columns

SHARE, ALONE, RECALL, RECALL_ALONE = "share", "alone", "recall", "recall_alone"
_HIT = "hit"


def contribution(candidates: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """A row for each of `columns.SOURCES`, and one for `all` of them together.

    `candidates` has rows of `CANDIDATE_SCHEMA`, `outcomes` `user_id` and `item_index`. The columns: `source`; `share`
    of the candidates that it proposed, `alone` the share that nobody else did; `recall`, the mean share of a user's
    distinct outcomes among what it proposed, `recall_alone` the same among what nobody else did: what would be lost
    without it, were nothing put in its place. Users who are not in `candidates`, or have no outcome, count in no mean;
    without users a recall is null.
    """
    pairs = _pairs(candidates)
    wanted = (
        outcomes.select(columns.USER, columns.ITEM_INDEX)
        .unique()
        .join(candidates.select(columns.USER), on=columns.USER, how="semi")
    )
    found = wanted.join(pairs, on=[columns.USER, columns.ITEM_INDEX], how="left").with_columns(
        pl.col(columns.SOURCE).fill_null(0)
    )
    masks = {source: pl.col(columns.SOURCE) & columns.source_bit(source) > 0 for source in columns.SOURCES}
    only = {source: pl.col(columns.SOURCE) == columns.source_bit(source) for source in columns.SOURCES}
    rows = [_row(source, pairs, found, masks[source], only[source]) for source in columns.SOURCES]
    everything = pl.col(columns.SOURCE) > 0
    return pl.DataFrame([*rows, _row("all", pairs, found, everything, everything)])


def _pairs(candidates: pl.DataFrame) -> pl.DataFrame:
    """`user_id`, `item_index`, `source`: a row per candidate."""
    lists = [columns.ITEM_INDEX, columns.SOURCE]
    return candidates.select(columns.USER, *lists).explode(lists).drop_nulls(columns.ITEM_INDEX)


def _row(
    source: str, pairs: pl.DataFrame, found: pl.DataFrame, proposed: pl.Expr, alone: pl.Expr
) -> dict[str, str | float | None]:
    shares = pairs.select(proposed.mean().alias(SHARE), alone.mean().alias(ALONE)).row(0, named=True)
    return {
        columns.SOURCE: source,
        **shares,
        RECALL: _recall(found, proposed),
        RECALL_ALONE: _recall(found, alone),
    }


def _recall(found: pl.DataFrame, hit: pl.Expr) -> float | None:
    mean = found.group_by(columns.USER).agg(hit.mean().alias(_HIT))[_HIT].mean()
    return None if mean is None else float(mean)  # type: ignore[arg-type]
