"""The items of a judged or published date, as arrays by `item_index`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.columns import ITEM, ITEM_INDEX

PREFERRED_WINDOW = 28
"""Days of the popularity baseline, where `extract` counted such a window; else the longest it counted."""


@dataclass(frozen=True)
class Items:
    """Position `item_index` of every array is that item's; position 0 is no item."""

    item_id: pl.Series
    """String[I + 1]; null at 0."""
    title: pl.Series
    """String[I + 1]; the id where there is no title."""
    eligible: npt.NDArray[np.bool_]
    """[I + 1]: available and not excluded."""
    popularity: npt.NDArray[np.float64]
    """[I + 1]: weighted events of the last days until the items' date; 0 where there were none."""

    @property
    def size(self) -> int:
        """I, the number of items."""
        return len(self.eligible) - 1

    @property
    def by_popularity(self) -> npt.NDArray[np.int32]:
        """The eligible items, most popular first; ties by index."""
        shown = np.flatnonzero(self.eligible)
        return shown[np.argsort(-self.popularity[shown], kind="stable")].astype(np.int32)

    def indexes(self, ids: pl.Series) -> npt.NDArray[np.int32]:
        """The index of each id, int32; 0 for an id that is no item here."""
        known = pl.DataFrame({ITEM: self.item_id, ITEM_INDEX: np.arange(self.size + 1, dtype=np.int32)})
        joined = ids.alias(ITEM).to_frame().join(known.slice(1), on=ITEM, how="left", maintain_order="left")
        return joined[ITEM_INDEX].fill_null(0).to_numpy()


def load_items(uri: str, excluded: Sequence[str], weights: Mapping[str, float]) -> Items:
    """The items in `extract`'s items.parquet at `uri`. `weights` are the event types that make an item popular."""
    with storage.reading(uri) as stream:
        table = pq.read_table(stream)
    frame = pl.DataFrame(pl.from_arrow(table)).sort(ITEM_INDEX)
    days = popularity_window(frame.columns)
    counted = {name: weight for name, weight in weights.items() if columns.count_column(name, days) in frame.columns}
    popular = pl.sum_horizontal(
        pl.lit(0.0), *(pl.col(columns.count_column(name, days)) * weight for name, weight in counted.items())
    )
    shown = pl.col(columns.AVAILABLE).fill_null(True) & ~pl.col(ITEM).is_in(list(excluded))
    facts = frame.select(
        shown.alias("shown"), popular.alias("popular"), pl.coalesce(columns.TITLE, ITEM).alias("title")
    )
    nothing = pl.Series([None], dtype=pl.String)
    return Items(
        item_id=pl.concat([nothing, frame[ITEM].cast(pl.String)]),
        title=pl.concat([nothing, facts["title"].cast(pl.String)]),
        eligible=np.r_[False, facts["shown"].to_numpy()],
        popularity=np.r_[0.0, facts["popular"].to_numpy().astype(np.float64)],
    )


def popularity_window(names: Sequence[str]) -> int:
    """The days of the counts behind popularity: 28 where there is such a count, else the longest; 0 without any."""
    found = {int(match[1]) for name in names if (match := re.fullmatch(r"count_.+_(\d+)d", name))}
    return PREFERRED_WINDOW if PREFERRED_WINDOW in found else max(found, default=0)
