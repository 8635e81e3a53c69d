"""What is popular, in each segment and overall: counted per shard, combined, ranked once.

Where clusters of items are given, the same pass counts which of them each segment's people are drawn to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.columns import GLOBAL_SEGMENT, SEGMENT
from recjobs.compose.catalogue import Catalogue
from recjobs.compose.clusters import nearest_centre
from recjobs.compose.config import ComposeConfig
from recjobs.compose.segments import membership
from recjobs.errors import CorruptFileError
from recjobs.ragged import Ints, matrix

WEIGHT = "weight"
COUNT = "count"
CLUSTER = "cluster"

POPULARITY_SCHEMA = pa.schema(
    [
        pa.field(SEGMENT, pa.string(), nullable=False),
        pa.field(columns.ITEM_INDEX, pa.int32(), nullable=False),
        pa.field(WEIGHT, pa.float64(), nullable=False),
    ]
)
"""Eligible items with a positive weight, by segment, then weight descending, then item index."""


@dataclass(frozen=True)
class Counts:
    """What one shard, or several together, say of popularity."""

    events: pl.DataFrame
    """`segment`, `item_id`, `event_type`, `count`: whole numbers, so that no order of adding matters."""
    users: pl.DataFrame
    """`segment`, `count`: users in it."""
    tastes: pl.DataFrame
    """`segment`, `cluster`, `count`: users whose vector points to that cluster most; empty where not asked for."""


@dataclass(frozen=True)
class Tastes:
    """What users' vectors are held against."""

    vectors_uri: str
    """The users' vectors of the same shard, in the order of their states."""
    centres: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """Which events count, and how much each type does."""

    until: date
    days: int
    weights: Mapping[str, float]
    """Weight by event type; only types of positive weight are in it."""

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """The first moment that counts and the first that no longer does."""
        end = datetime.combine(self.until + timedelta(days=1), time(), UTC)
        return end - timedelta(days=self.days), end


def count_shard(
    events_uris: Sequence[str], users_uri: str, segment_by: list[str], window: Window, tastes: Tastes | None = None
) -> Counts:
    """The counts of one shard, from its events and its users' states (and vectors).

    Raises:
        CorruptFileError: the vectors are not of the same users.
    """
    users = _read(users_uri, [columns.USER, *segment_by])
    start, end = window.bounds
    moment = pl.col(columns.TIMESTAMP)
    names = [columns.USER, columns.ITEM, columns.EVENT_TYPE, columns.TIMESTAMP]
    events = pl.concat([_read(uri, names) for uri in events_uris]).filter(
        (moment >= start)
        & (moment < end)
        & pl.col(columns.EVENT_TYPE).is_in(list(window.weights))
        & pl.col(columns.ITEM).is_not_null()
    )
    return count(events, users, segment_by, _clusters(users, tastes) if tastes else None)


def _clusters(users: pl.DataFrame, tastes: Tastes) -> npt.NDArray[np.int32]:
    """The cluster that each of `users` is drawn to most."""
    with storage.reading(tastes.vectors_uri) as stream:
        table = pq.read_table(stream, columns=[columns.USER, columns.VECTOR])
    ids = pl.Series(pl.from_arrow(table.column(columns.USER))).cast(pl.String)
    if not ids.equals(users[columns.USER].cast(pl.String)):
        raise CorruptFileError(
            f"{tastes.vectors_uri} ({table.num_rows} users) is not of the {users.height} users of the states. Run "
            "retrieve/search again.",
            uri=tastes.vectors_uri,
        )
    if not table.num_rows:
        return np.empty(0, np.int32)
    return nearest_centre(matrix(table.column(columns.VECTOR)), tastes.centres)


def count(
    events: pl.DataFrame, users: pl.DataFrame, segment_by: list[str], clusters: npt.NDArray[np.int32] | None = None
) -> Counts:
    """The counts of `events` (those that matter) by the segments of `users`, who are drawn to `clusters`."""
    everybody = pl.DataFrame({SEGMENT: [GLOBAL_SEGMENT], COUNT: [users.height]}, schema_overrides={COUNT: pl.UInt32})
    members = membership(users, segment_by)
    sizes = members.group_by(SEGMENT).agg(pl.len().alias(COUNT))
    names = users.select(columns.USER).with_row_index("row")
    per_user = events.group_by(columns.USER, columns.ITEM, columns.EVENT_TYPE).agg(pl.len().alias(COUNT))
    within = per_user.join(names, on=columns.USER).join(members, on="row").drop("row", columns.USER)
    overall = per_user.drop(columns.USER).with_columns(pl.lit(GLOBAL_SEGMENT).alias(SEGMENT))
    return _summed(
        [
            Counts(
                pl.concat([overall.select(within.columns), within]),
                pl.concat([everybody, sizes]),
                _tastes(members, clusters),
            )
        ]
    )


def _tastes(members: pl.DataFrame, clusters: npt.NDArray[np.int32] | None) -> pl.DataFrame:
    nobody = pl.DataFrame(schema={SEGMENT: pl.String, CLUSTER: pl.Int32, COUNT: pl.UInt32})
    if clusters is None:
        return nobody
    drawn = pl.DataFrame({CLUSTER: clusters}).with_row_index("row")
    everybody = drawn.select(pl.lit(GLOBAL_SEGMENT).alias(SEGMENT), CLUSTER)
    within = members.join(drawn, on="row").select(SEGMENT, CLUSTER)
    return pl.concat([nobody, pl.concat([everybody, within]).group_by(SEGMENT, CLUSTER).agg(pl.len().alias(COUNT))])


def combine(parts: Iterable[Counts]) -> Counts:
    """The counts of several shards as one. Associative, and any order gives the same numbers."""
    return _summed(list(parts))


def _summed(parts: list[Counts]) -> Counts:
    kinds = [SEGMENT, columns.ITEM, columns.EVENT_TYPE]
    total = pl.col(COUNT).cast(pl.Int64).sum()
    return Counts(
        pl.concat([part.events for part in parts]).group_by(kinds).agg(total),
        pl.concat([part.users for part in parts]).group_by(SEGMENT).agg(total),
        pl.concat([part.tastes for part in parts]).group_by(SEGMENT, CLUSTER).agg(total),
    )


def rank(counts: Counts, catalogue: Catalogue, config: ComposeConfig, weights: Mapping[str, float]) -> pa.Table:
    """The popularity table (`POPULARITY_SCHEMA`) of `all` and of each segment with support.

    A segment keeps its `segment_depth(config)` most popular items, `all` keeps every one.
    """
    supported = counts.users.filter(pl.col(SEGMENT).is_in(supported_segments(counts, config)))
    indexes = pl.DataFrame(
        {
            columns.ITEM: catalogue.item_id,
            columns.ITEM_INDEX: np.arange(catalogue.size + 1, dtype=np.int32),
            "shown": catalogue.eligible,
        }
    ).filter("shown")
    weight = pl.col(columns.EVENT_TYPE).replace_strict(dict(weights), return_dtype=pl.Float64)
    ranked = (
        counts.events.join(supported.select(SEGMENT), on=SEGMENT)
        .join(indexes, on=columns.ITEM)
        .sort(columns.EVENT_TYPE)
        .group_by(SEGMENT, columns.ITEM_INDEX, maintain_order=True)
        .agg((pl.col(COUNT) * weight).sum().alias(WEIGHT))
        .sort([SEGMENT, WEIGHT, columns.ITEM_INDEX], descending=[False, True, False])
    )
    shallow = pl.int_range(pl.len()).over(SEGMENT) < segment_depth(config)
    kept = ranked.filter((pl.col(SEGMENT) == GLOBAL_SEGMENT) | shallow)
    missing = supported.filter(~pl.col(SEGMENT).is_in(kept[SEGMENT].unique().implode()))[SEGMENT].sort().to_list()
    return _table(kept, missing)


def supported_segments(counts: Counts, config: ComposeConfig) -> list[str]:
    """`all` and, by name, every other segment with enough users for a list of its own."""
    enough = counts.users.filter((pl.col(COUNT) >= config.segment_support) & (pl.col(SEGMENT) != GLOBAL_SEGMENT))
    return [GLOBAL_SEGMENT, *enough[SEGMENT].sort().to_list()]


def segment_depth(config: ComposeConfig) -> int:
    """How many items of a segment are kept: enough that no-repeat seldom reaches the end."""
    return 4 * max(surface.length for surface in config.surfaces.values())


def _table(kept: pl.DataFrame, empty_segments: list[str]) -> pa.Table:
    """Segments with support in which nothing sold stand in the schema's metadata: a table has no empty groups."""
    table = kept.select(POPULARITY_SCHEMA.names).to_arrow().cast(POPULARITY_SCHEMA)
    return table.replace_schema_metadata({"empty_segments": json.dumps(empty_segments)})


@dataclass(frozen=True)
class Popularity:
    """Popular items of each segment, as flat arrays. Segment 0 is `all`."""

    segments: list[str]
    items: npt.NDArray[np.int32]
    """The segments' eligible items, most popular first, one segment after the other.

    Those of `all` go on with every other eligible item: nobody wanted it lately, so it goes by what its category's
    items are wanted on average, ties and items without a category by index.
    """
    weights: npt.NDArray[np.float64]
    """Of each of `items`; 0 for what nobody wanted."""
    starts: Ints
    """Where each segment begins in `items`; one more at the end."""

    @property
    def lengths(self) -> Ints:
        """How many items each segment has."""
        return np.diff(self.starts)

    def of(self, segment: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Items and weights of one segment."""
        part = slice(self.starts[segment], self.starts[segment + 1])
        return self.items[part], self.weights[part]


def load_popularity(uri: str, catalogue: Catalogue) -> Popularity:
    """The popularity table at `uri`, with `all` completed to every eligible item."""
    with storage.reading(uri) as stream:
        table = pq.read_table(stream)
    return arrange(table, catalogue)


def arrange(table: pa.Table, catalogue: Catalogue) -> Popularity:
    """A popularity table (`POPULARITY_SCHEMA`) as arrays, with `all` completed to every eligible item."""
    frame = pl.DataFrame(pl.from_arrow(table))
    empty = json.loads((table.schema.metadata or {}).get(b"empty_segments", b"[]"))
    groups = {str(name): group for (name,), group in frame.group_by(SEGMENT, maintain_order=True)}
    names = [GLOBAL_SEGMENT, *sorted({*groups, *empty} - {GLOBAL_SEGMENT})]
    nothing = frame.clear()
    items = [groups.get(name, nothing)[columns.ITEM_INDEX].to_numpy() for name in names]
    weights = [groups.get(name, nothing)[WEIGHT].to_numpy() for name in names]
    rest = _by_category(np.setdiff1d(catalogue.eligible_items, items[0]), items[0], weights[0], catalogue)
    items[0] = np.r_[items[0], rest].astype(np.int32)
    weights[0] = np.r_[weights[0], np.zeros(len(rest))]
    starts = np.cumsum([0, *(len(part) for part in items)]).astype(np.int64)
    return Popularity(names, np.concatenate(items), np.concatenate(weights), starts)


def _by_category(
    rest: npt.NDArray[np.int32],
    wanted: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float64],
    catalogue: Catalogue,
) -> npt.NDArray[np.int32]:
    """`rest` by the mean weight of the items of their category that may be shown, `wanted` ones having `weights`."""
    weight = np.zeros(catalogue.size + 1)
    weight[wanted] = weights
    shown = pl.DataFrame({columns.CATEGORY: catalogue.category, WEIGHT: weight}).filter(pl.Series(catalogue.eligible))
    means = shown.drop_nulls().group_by(columns.CATEGORY).agg(pl.col(WEIGHT).mean())
    own = (
        catalogue.category.gather(rest)
        .to_frame(columns.CATEGORY)
        .join(means, on=columns.CATEGORY, how="left", maintain_order="left")
    )
    order = np.argsort(-own[WEIGHT].fill_null(0.0).to_numpy(), kind="stable")
    return rest[order]


def _read(uri: str, names: list[str]) -> pl.DataFrame:
    with storage.reading(uri) as stream:
        return pl.DataFrame(pl.from_arrow(pq.read_table(stream, columns=names)))
