"""Content ideas: what each segment wants, and the catalogue has little of.

Items are clustered by their vectors. A segment's demand for a cluster is the mean of two shares: of the weighted events
of its people in the last `segment_window_days` that went to the cluster's items, and of its people whose own vector
points to it most, whatever is there to be had. Supply is the cluster's share of the items that may be shown. What is
most lacking comes first: `lack` is demand × log(demand / supply), the cluster's part of the Kullback-Leibler
divergence of supply from demand, so that a small wish for a rarity does not come before a large one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from recjobs import columns
from recjobs.columns import GLOBAL_SEGMENT, SEGMENT
from recjobs.compose.catalogue import Catalogue
from recjobs.compose.clusters import NONE, Clusters
from recjobs.compose.popularity import CLUSTER, COUNT, WEIGHT, Counts
from recjobs.compose.telling import GROUP, TIMES, telling_words

WORDS, DEMAND, SUPPLY, RATIO, LACK = "words", "demand_share", "supply_share", "ratio", "lack"
EVENT_SHARE, TASTE_SHARE = "event_share", "taste_share"
USERS, ITEMS, EXAMPLES = "users", "items", "example_items"
EXAMPLE_TITLES = "example_titles"

IDEA_SCHEMA = pa.schema(
    [
        pa.field(SEGMENT, pa.string(), nullable=False),
        pa.field(CLUSTER, pa.int32(), nullable=False),
        pa.field(WORDS, pa.list_(pa.string()), nullable=False),
        pa.field(DEMAND, pa.float64(), nullable=False),
        pa.field(SUPPLY, pa.float64(), nullable=False),
        pa.field(RATIO, pa.float64(), nullable=False),
        pa.field(LACK, pa.float64(), nullable=False),
        pa.field(EVENT_SHARE, pa.float64(), nullable=False),
        pa.field(TASTE_SHARE, pa.float64(), nullable=False),
        pa.field(USERS, pa.int64(), nullable=False),
        pa.field(ITEMS, pa.int64(), nullable=False),
        pa.field(EXAMPLES, pa.list_(pa.string()), nullable=False),
        pa.field(EXAMPLE_TITLES, pa.list_(pa.string()), nullable=False),
    ]
)
"""A row per segment with support and cluster: `all` first, then by name; within a segment by `lack`, largest first."""

_MOST_WORDS, _MOST_EXAMPLES = 4, 3


def ideas_table(
    counts: Counts, supported: list[str], catalogue: Catalogue, clusters: Clusters, weights: Mapping[str, float]
) -> pa.Table:
    """The ideas of the segments `supported` (`IDEA_SCHEMA`); no row for a segment that wanted nothing."""
    events = _shares(_event_demand(counts, catalogue, clusters, weights), WEIGHT, EVENT_SHARE)
    tastes = _shares(counts.tastes, COUNT, TASTE_SHARE)
    cells = pl.DataFrame({SEGMENT: pl.Series(supported, dtype=pl.String)}).join(
        _about_clusters(catalogue, clusters), how="cross"
    )
    both = cells.join(events, on=[SEGMENT, CLUSTER], how="left").join(tastes, on=[SEGMENT, CLUSTER], how="left")
    wanted = both.join(events.select(SEGMENT).unique(), on=SEGMENT, how="semi").with_columns(
        pl.col(EVENT_SHARE, TASTE_SHARE).fill_null(0.0), pl.col(USERS).fill_null(0)
    )
    return _ranked(wanted, len(catalogue.eligible_items)).select(IDEA_SCHEMA.names).to_arrow().cast(IDEA_SCHEMA)


def _event_demand(
    counts: Counts, catalogue: Catalogue, clusters: Clusters, weights: Mapping[str, float]
) -> pl.DataFrame:
    """`segment`, `cluster`, `weight`: what the segments' people did, items that may not be shown included."""
    of_item = pl.DataFrame({columns.ITEM: catalogue.item_id.slice(1), CLUSTER: clusters.of[1:]})
    weight = pl.col(columns.EVENT_TYPE).replace_strict(dict(weights), return_dtype=pl.Float64)
    return (
        counts.events.join(of_item.filter(pl.col(CLUSTER) != NONE), on=columns.ITEM)
        .sort(SEGMENT, CLUSTER, columns.ITEM, columns.EVENT_TYPE)
        .group_by(SEGMENT, CLUSTER, maintain_order=True)
        .agg((pl.col(COUNT) * weight).sum().alias(WEIGHT))
    )


def _shares(demand: pl.DataFrame, amount: str, name: str) -> pl.DataFrame:
    users = [pl.col(COUNT).alias(USERS)] if amount == COUNT else []
    return demand.select(SEGMENT, CLUSTER, *users, (pl.col(amount) / pl.col(amount).sum().over(SEGMENT)).alias(name))


def _about_clusters(catalogue: Catalogue, clusters: Clusters) -> pl.DataFrame:
    """`cluster`, its number of items that may be shown, its words and its items that are asked for most."""
    shown = np.bincount(clusters.of[(clusters.of != NONE) & catalogue.eligible], minlength=clusters.size)
    words = telling_words(_texts(catalogue, clusters), _MOST_WORDS)
    examples = [_most_wanted(catalogue, clusters, cluster) for cluster in range(clusters.size)]
    return pl.DataFrame(
        {
            CLUSTER: np.arange(clusters.size, dtype=np.int32),
            ITEMS: shown.astype(np.int64),
            WORDS: pl.Series([words.get(cluster, []) for cluster in range(clusters.size)], dtype=pl.List(pl.String)),
            EXAMPLES: pl.Series(
                [catalogue.item_id.gather(items).to_list() for items in examples], dtype=pl.List(pl.String)
            ),
            EXAMPLE_TITLES: pl.Series(
                [catalogue.title.gather(items).to_list() for items in examples], dtype=pl.List(pl.String)
            ),
        }
    )


def _texts(catalogue: Catalogue, clusters: Clusters) -> pl.DataFrame:
    """Items' titles and categories; what is asked for more counts more, so that a name fits what is wanted."""
    times = 1 + np.log1p(catalogue.events)
    frame = pl.DataFrame({GROUP: clusters.of, TIMES: times, "title": catalogue.title, "category": catalogue.category})
    text = pl.concat_str("title", "category", separator=" ", ignore_nulls=True)
    return frame.filter(pl.col(GROUP) != NONE).select(GROUP, TIMES, text.alias("text"))


def _most_wanted(catalogue: Catalogue, clusters: Clusters, cluster: int) -> npt.NDArray[np.int64]:
    members = np.flatnonzero(clusters.of == cluster)
    return members[np.argsort(-catalogue.events[members], kind="stable")][:_MOST_EXAMPLES]


def _ranked(wanted: pl.DataFrame, shown: int) -> pl.DataFrame:
    """With a share of one item more on both sides, so that a cluster without supply has a ratio too."""
    demand, one = (pl.col(EVENT_SHARE) + pl.col(TASTE_SHARE)) / 2, 1 / max(shown, 1)
    ratio = (pl.col(DEMAND) + one) / (pl.col(SUPPLY) + one)
    return (
        wanted.with_columns(demand.alias(DEMAND), (pl.col(ITEMS) / max(shown, 1)).alias(SUPPLY))
        .with_columns(ratio.alias(RATIO))
        .with_columns((pl.col(DEMAND) * pl.col(RATIO).log()).alias(LACK))
        .sort([pl.col(SEGMENT) != GLOBAL_SEGMENT, SEGMENT, LACK, CLUSTER], descending=[False, False, True, False])
    )
