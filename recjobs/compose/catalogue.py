"""The items as arrays by `item_index`: who may be shown, what they are called, which are new."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.compose.conditions import Mask, allowed_by, named_columns, read_items
from recjobs.compose.config import ComposeConfig
from recjobs.errors import GiveUpError

_NEEDED = [
    columns.ITEM_INDEX,
    columns.ITEM,
    columns.TITLE,
    columns.CATEGORY,
    columns.AVAILABLE,
    columns.CREATED_AT,
    columns.FIRST_EVENT,
    columns.N_EVENTS,
]


@dataclass(frozen=True)
class Catalogue:
    """The items of one date. Position `item_index` of every array is that item's; position 0 is no item."""

    item_id: pl.Series
    """String[I + 1]; null at 0."""
    title: pl.Series
    """String[I + 1]; the item's id where it has no title."""
    eligible: npt.NDArray[np.bool_]
    """[I + 1]: available, not excluded, and let in by the rules; False at 0."""
    new: npt.NDArray[np.bool_]
    """[I + 1]: created, or first seen where `created_at` is unknown, in the last `new_days` days."""
    category: pl.Series
    """String[I + 1]; null where it is unknown."""
    events: npt.NDArray[np.int64]
    """[I + 1]: events of each item until `history_until`; 0 at 0."""
    age: npt.NDArray[np.float64]
    """[I + 1]: days since the item was created, or else first seen; infinite where neither is known."""

    @property
    def size(self) -> int:
        """I, the number of items."""
        return len(self.eligible) - 1

    @property
    def eligible_items(self) -> npt.NDArray[np.int32]:
        """The indexes of the items that may be shown, ascending."""
        return np.flatnonzero(self.eligible).astype(np.int32)

    def only(self, allowed: Mask) -> Catalogue:
        """This catalogue with nothing eligible but what is `allowed` too (bool[I + 1])."""
        return replace(self, eligible=self.eligible & allowed)

    def keys(self, rows: npt.NDArray[np.int32], items: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """One number for each (row, item): equal exactly where both are."""
        return rows.astype(np.int64) * (self.size + 1) + items

    def known(self, items: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Which indexes are items of this catalogue."""
        return (items > 0) & (items <= self.size)

    def may_show(self, items: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Which indexes are items that may be shown; an unknown index is none."""
        return self.known(items) & self.eligible[np.where(self.known(items), items, 0)]


def load_catalogue(uri: str, config: ComposeConfig, ds: date) -> Catalogue:
    """The catalogue in `extract`'s items.parquet at `uri`, as of the end of `ds`."""
    with storage.reading(uri) as stream:
        table = pq.read_table(stream, columns=_NEEDED)
    frame = pl.DataFrame(pl.from_arrow(table)).sort(columns.ITEM_INDEX)
    born = pl.coalesce(columns.CREATED_AT, columns.FIRST_EVENT)
    tomorrow = datetime.combine(ds + timedelta(days=1), time(), UTC)
    flags = frame.select(
        (pl.col(columns.AVAILABLE).fill_null(True) & ~pl.col(columns.ITEM).is_in(config.exclude_items)).alias("shown"),
        ((pl.lit(tomorrow) - born).dt.total_seconds() / 86_400.0).fill_null(np.inf).alias("age"),
        ((born >= tomorrow - timedelta(days=config.new_days)) & (born < tomorrow)).fill_null(False).alias("new"),
    )
    missing = pl.Series([None], dtype=pl.String)
    allowed = _allowed(uri, config, ds, frame.height)
    return Catalogue(
        item_id=pl.concat([missing, frame[columns.ITEM]]),
        title=pl.concat([missing, frame.select(pl.coalesce(columns.TITLE, columns.ITEM)).to_series()]),
        eligible=np.r_[False, flags["shown"].to_numpy() & allowed],
        new=np.r_[False, flags["new"].to_numpy()],
        category=pl.concat([missing, frame[columns.CATEGORY].cast(pl.String)]),
        age=np.r_[np.inf, flags["age"].to_numpy()],
        events=np.r_[0, frame[columns.N_EVENTS].fill_null(0).to_numpy()].astype(np.int64),
    )


def _allowed(uri: str, config: ComposeConfig, ds: date, items: int) -> Mask:
    """What the rules of all surfaces let in."""
    if not config.rules.filters:
        return np.ones(items, np.bool_)
    return allowed_by(config.rules, read_items(uri, named_columns([config.rules]), ds))


def require_something_to_show(catalogue: Catalogue, config: ComposeConfig, uri: str, surface: str = "") -> None:
    """Raises GiveUpError when no item may be shown (on `surface`): no list could then be anything but empty."""
    if not catalogue.eligible.any():
        place = f" on surface {surface!r}" if surface else ""
        raise GiveUpError(
            f"none of the {catalogue.size} items in {uri} may be shown{place}: each is unavailable or among the "
            f"{len(config.exclude_items)} of compose.exclude_items, or kept out by the includes and excludes of rules. "
            f"Check column {columns.AVAILABLE!r} of the item snapshot and these settings.",
            items=catalogue.size,
            uri=uri,
        )
