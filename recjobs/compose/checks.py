"""What must hold of finished lists, counted on the very tables that are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from recjobs import columns
from recjobs.columns import ITEM, SCORE, USER
from recjobs.compose.catalogue import Catalogue
from recjobs.manifest import Check
from recjobs.ragged import flat_lists, rows_of

FAULTS = {
    "users missing": "users without exactly one list",
    "lists short": "lists that do not have the full length",
    "duplicates": "lists with an item twice",
    "ineligible": "places with an item that may not be shown",
    "scores not finite": "scores that are not finite",
    "scores rising": "lists whose scores rise",
}
"""Every kind of fault that is counted, with what it means."""


def faults_of(lists: pa.Table, users: pa.Array, catalogue: Catalogue, length: int) -> dict[str, int]:
    """How often each of `FAULTS` is in `lists` (`LIST_SCHEMA`), which should be those of `users`."""
    owners = lists.column(USER).combine_chunks()
    items, lengths = flat_lists(lists.column(ITEM))
    scores, _ = flat_lists(lists.column(SCORE))
    rows = rows_of(lengths)
    flat = pl.DataFrame({"row": rows, ITEM: items}, schema_overrides={ITEM: pl.String})
    shown = catalogue.item_id.filter(pl.Series(catalogue.eligible))
    same_list = rows[1:] == rows[:-1]
    rising = rows[1:][same_list & (scores[1:] > scores[:-1])]
    return {
        "users missing": _unmatched(owners, users),
        "lists short": int((lengths != length).sum()),
        "duplicates": flat.filter(flat.is_duplicated())["row"].n_unique(),
        "ineligible": int((~flat[ITEM].is_in(shown.implode())).sum()),
        "scores not finite": int((~np.isfinite(scores)).sum()),
        "scores rising": len(np.unique(rising)),
    }


def checks_of(faults: Mapping[str, Mapping[str, int]]) -> list[Check]:
    """A check for each surface and kind of fault; none is allowed."""
    return [
        Check(
            name=f"{surface}: no {kind}",
            passed=count == 0,
            value=count,
            limit=0,
            detail=f"{count} {FAULTS[kind]}",
        )
        for surface, kinds in faults.items()
        for kind, count in kinds.items()
    ]


def item_lists_check(lengths: Sequence[int], wanted: int) -> Check:
    """Warns when items have fewer similar items than wanted."""
    short = sum(length < wanted for length in lengths)
    share = short / len(lengths) if lengths else 0.0
    return Check(
        name="item lists long enough",
        passed=share <= 0.05,
        value=share,
        limit=0.05,
        detail=f"{short} of {len(lengths)} items have fewer than {wanted} similar items that may be shown",
        severity="warn",
    )


def _unmatched(owners: pa.Array, users: pa.Array) -> int:
    counts = pl.DataFrame({USER: pl.Series(pl.from_arrow(owners))}).group_by(USER).agg(pl.len().alias("lists"))
    wanted = pl.DataFrame({USER: pl.Series(pl.from_arrow(users))}).with_columns(wanted=pl.lit(1))
    both = counts.join(wanted, on=columns.USER, how="full", coalesce=True)
    return both.filter(pl.col("lists").fill_null(0) != pl.col("wanted").fill_null(0)).height
