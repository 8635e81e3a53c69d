"""The ranker's inputs: what was known of a user, an item and the two together at the end of `history_until`.

Inputs stand in three blocks: one row per user, per item and per pair. A pair's model input is its user's row,
its item's row and its own row; keeping them apart lets the model do a user's work once per user and an item's
once per item. `assembled` gives the plain dense[pairs, D] and sparse[pairs, S].

Nothing depends on a vocabulary's order, a clock or the towers' coordinates: texts are hashed, ages are taken
from the artefact's own cutoff, and retrieval enters as dot product, standardised score and rank (DESIGN §3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns
from recjobs.columns import count_column
from recjobs.rank.block import Block, FloatArray, IndexArray, make_block
from recjobs.rank.encodings import (
    COUNT_BUCKETS,
    count_bucket,
    days_before,
    freshness,
    hashed,
    local_codes,
    numbers,
)
from recjobs.rank.history import LastItems, PairHistory, affinity, last_items, pair_history
from recjobs.rank.relations.config import RelationsConfig
from recjobs.rank.standardise import closeness, standardised
from recjobs.rank.states import Candidates, UserShard, end_of
from recjobs.rank.visits import visits_of
from recjobs.settings import Settings

RANK_BUCKETS = 24
_RATIO_PRIOR = 10.0
_RATE_PRIOR = 0.1
"""Events a day added to both rates of a trend: from few events there is none."""


@dataclass(frozen=True)
class FeatureSpec:
    """What the features depend on besides the data; saved with the ranker so that scoring builds the same."""

    event_types: tuple[str, ...]
    windows: tuple[int, ...]
    user_numeric: tuple[str, ...]
    user_categorical: tuple[str, ...]
    item_numeric: tuple[str, ...]
    item_categorical: tuple[str, ...]
    item_buckets: int
    value_buckets: int
    relations: RelationsConfig = field(default_factory=RelationsConfig)
    ignored: tuple[str, ...] = ()
    """Patterns of features that are 0 throughout, each `block:name`."""

    def ignored_in(self, block: str) -> tuple[str, ...]:
        """The patterns of the block `user`, `item` or `pair`, without its name."""
        return tuple(name for where, name in (pattern.split(":", 1) for pattern in self.ignored) if where == block)

    def to_record(self) -> dict[str, Any]:
        """JSON-serialisable values; `FeatureSpec.from_record` reads them back."""
        return asdict(self) | {"relations": self.relations.model_dump()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> FeatureSpec:
        """The spec that `to_record` wrote, or an earlier version, which knew no relations."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**values | {"relations": RelationsConfig(**values.get("relations", {}))})


def feature_spec(config: Settings) -> FeatureSpec:
    """The spec that settings ask for."""
    users, items = config.users, config.items
    return FeatureSpec(
        event_types=tuple(config.events.types),
        windows=tuple(sorted(config.extract.count_windows)),
        user_numeric=tuple(users.numeric) if users else (),
        user_categorical=tuple(users.categorical) if users else (),
        item_numeric=tuple(items.numeric) if items else (),
        item_categorical=tuple(items.categorical) if items else (),
        item_buckets=config.rank.train.item_buckets,
        value_buckets=config.rank.train.value_buckets,
        relations=config.rank.relations,
        ignored=tuple(config.rank.train.ignored_features),
    )


@dataclass(frozen=True)
class ItemTable:
    """The items' block and what pair features need of an item. Row i is item_index i; row 0 is the unknown item."""

    block: Block
    category: npt.NDArray[np.int64]
    categories: int
    brand: npt.NDArray[np.int64]
    brands: int
    category_hash: IndexArray
    log_price: FloatArray


@dataclass(frozen=True)
class Pairs:
    """Which (user, item) pairs to describe: rows of the user states and of the item table, and what retrieval said."""

    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    score: FloatArray
    standard_score: FloatArray
    rank: IndexArray
    source: npt.NDArray[np.int16]
    by_source: Mapping[str, FloatArray] = field(default_factory=dict)
    """Each source's score."""
    standard_by_source: Mapping[str, FloatArray] = field(default_factory=dict)
    """Each source's score, standardised among the user's candidates."""
    closeness_by_source: Mapping[str, FloatArray] = field(default_factory=dict)
    """1 / rank among the user's candidates by each source's score; 0 where the source does not know the item."""
    related: Mapping[str, FloatArray] = field(default_factory=dict)
    """What the user's history says of the item; see `relations.features`."""

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: npt.NDArray[Any]) -> Pairs:
        """The pairs of these rows (indices or a mask), in their order."""
        return Pairs(
            self.user[rows],
            self.item[rows],
            self.score[rows],
            self.standard_score[rows],
            self.rank[rows],
            self.source[rows],
            {name: scores[rows] for name, scores in self.by_source.items()},
            {name: scores[rows] for name, scores in self.standard_by_source.items()},
            {name: scores[rows] for name, scores in self.closeness_by_source.items()},
            {name: values[rows] for name, values in self.related.items()},
        )


def item_table(items: pl.DataFrame, spec: FeatureSpec, history_until: date) -> ItemTable:
    """What is known of each item at the end of `history_until`; `items` as `states.read_items` gives them."""
    unknown = items.clear(1)
    rows = pl.concat([unknown, items])
    category, categories = local_codes(rows[columns.CATEGORY])
    brand, brands = local_codes(rows[columns.BRAND])
    return ItemTable(
        block=make_block(
            _item_dense(rows, spec, end_of(history_until)),
            _item_sparse(rows, spec),
            rows.height,
            spec.ignored_in("item"),
        ),
        category=category,
        categories=categories,
        brand=brand,
        brands=brands,
        category_hash=hashed(rows[columns.CATEGORY], spec.value_buckets),
        log_price=np.log1p(np.maximum(numbers(rows[columns.PRICE]), 0.0)),
    )


def _item_dense(rows: pl.DataFrame, spec: FeatureSpec, now: int) -> dict[str, npt.NDArray[Any]]:
    born = rows.select(pl.coalesce(columns.CREATED_AT, columns.FIRST_EVENT)).to_series()
    age, idle = days_before(now, born), days_before(now, rows[columns.LAST_EVENT])
    price = numbers(rows[columns.PRICE])
    return {
        "log_events": np.log1p(numbers(rows[columns.N_EVENTS])),
        "log_users": np.log1p(numbers(rows[columns.N_USERS])),
        "log_age": np.log1p(age),
        "age_known": ~np.isnan(age),
        "fresh_1d": freshness(idle, 1.0),
        "fresh_30d": freshness(idle, 30.0),
        "log_price": np.log1p(np.maximum(price, 0.0)),
        "price_known": ~np.isnan(price),
        "available": rows[columns.AVAILABLE].fill_null(True).to_numpy(),
        "log_events_per_user": np.log1p(numbers(rows[columns.N_EVENTS])) - np.log1p(numbers(rows[columns.N_USERS])),
        **_counts(rows, spec),
        **_trends(rows, spec),
        **_ratios(rows, spec),
        **{name: numbers(rows[name]) for name in spec.item_numeric},
    }


def _counts(rows: pl.DataFrame, spec: FeatureSpec) -> dict[str, FloatArray]:
    names = [count_column(kind, days) for kind in spec.event_types for days in spec.windows]
    return {f"log_{name}": np.log1p(numbers(rows[name])) for name in names}


def _trends(rows: pl.DataFrame, spec: FeatureSpec) -> dict[str, FloatArray]:
    """Per type and pair of neighbouring windows: log of the short one's daily rate over that of the long one."""
    found: dict[str, FloatArray] = {}
    for kind in spec.event_types:
        for short, long in pairwise(spec.windows):
            few, many = (numbers(rows[count_column(kind, days)]) / days for days in (short, long))
            found[f"trend_{kind}_{short}d_{long}d"] = np.log((few + _RATE_PRIOR) / (many + _RATE_PRIOR))
    return found


def _ratios(rows: pl.DataFrame, spec: FeatureSpec) -> dict[str, FloatArray]:
    """Per window and type after the first: its share of the item's events, drawn towards the overall share."""
    ratios: dict[str, FloatArray] = {}
    for days in spec.windows:
        counts = {kind: np.nan_to_num(numbers(rows[count_column(kind, days)])) for kind in spec.event_types}
        total = np.sum(list(counts.values()), axis=0)
        for kind in spec.event_types[1:]:
            overall = counts[kind].sum() / max(total.sum(), 1.0)
            share = (counts[kind] + _RATIO_PRIOR * overall) / (total + _RATIO_PRIOR)
            ratios[f"share_{kind}_{days}d"] = share.astype(np.float32)
    return ratios


def _item_sparse(rows: pl.DataFrame, spec: FeatureSpec) -> dict[str, tuple[IndexArray, int]]:
    return {
        "item": (hashed(rows[columns.ITEM], spec.item_buckets), spec.item_buckets),
        "popularity": (count_bucket(numbers(rows[columns.N_EVENTS].fill_null(0))), COUNT_BUCKETS),
        **{
            name: (hashed(rows[name], spec.value_buckets), spec.value_buckets)
            for name in (columns.CATEGORY, columns.BRAND, *spec.item_categorical)
        },
    }


def user_block(users: UserShard, spec: FeatureSpec, history_until: date) -> Block:
    """What is known of each user at the end of `history_until`; rows as in `users`."""
    rows, now = users.scalars, end_of(history_until)
    idle, tenure = days_before(now, rows[columns.LAST_EVENT]), days_before(now, rows[columns.FIRST_EVENT])
    usual = numbers(rows[columns.USUAL_PRICE])
    dense: dict[str, npt.NDArray[Any]] = {
        "log_events": np.log1p(numbers(rows[columns.N_EVENTS])),
        "log_active_days": np.log1p(numbers(rows[columns.ACTIVE_DAYS])),
        "fresh_1d": freshness(idle, 1.0),
        "fresh_30d": freshness(idle, 30.0),
        "log_tenure": np.log1p(tenure),
        "usual_price": usual,
        "usual_price_known": ~np.isnan(usual),
        "log_distinct_pairs": np.log1p(users.pair_item.lengths),
        **visits_of(users, now).user_features(),
        **_counts(rows, spec),
        **{name: numbers(rows[name]) for name in spec.user_numeric},
    }
    sparse = {
        "activity": (count_bucket(numbers(rows[columns.N_EVENTS])), COUNT_BUCKETS),
        **{
            name: (hashed(rows[name], spec.value_buckets), spec.value_buckets)
            for name in (columns.COUNTRY, columns.LANGUAGE, columns.AGE_BAND, *spec.user_categorical)
        },
    }
    return make_block(dense, sparse, len(users), spec.ignored_in("user"))


def pairs_of(candidates: Candidates) -> Pairs:
    """Every candidate as a pair, user by user, best first within a user."""
    lengths = candidates.items.lengths
    return Pairs(
        user=candidates.items.rows(),
        item=candidates.items.values.astype(np.int64),
        score=candidates.scores,
        standard_score=standardised(candidates.scores, lengths),
        rank=candidates.rank(),
        source=candidates.sources,
        by_source=candidates.by_source,
        standard_by_source={name: standardised(scores, lengths) for name, scores in candidates.by_source.items()},
        closeness_by_source={name: closeness(scores, lengths) for name, scores in candidates.by_source.items()},
    )


class PairFeatures:
    """Describes pairs of one shard's users with items; the users' histories are indexed once, here."""

    def __init__(self, users: UserShard, items: ItemTable, spec: FeatureSpec, history_until: date) -> None:
        self._items, self._spec = items, spec
        self._usual_price = numbers(users.scalars[columns.USUAL_PRICE])
        now = end_of(history_until)
        self._history: PairHistory = pair_history(users, len(items.block), spec.event_types, now)
        self._category = affinity(users, items.category, items.categories, now)
        self._brand = affinity(users, items.brand, items.brands, now)
        self._last: LastItems = last_items(users)

    def block(self, pairs: Pairs) -> Block:
        """The pairs' block, rows as in `pairs`."""
        return make_block(self._dense(pairs), self._sparse(pairs), len(pairs), self._spec.ignored_in("pair"))

    def _dense(self, pairs: Pairs) -> dict[str, npt.NDArray[Any]]:
        items, last = self._items, self._last.item[pairs.user]
        gap = items.log_price[pairs.item] - self._usual_price[pairs.user]
        category, brand = items.category[pairs.item], items.brand[pairs.item]
        return {
            "retrieval_score": pairs.score,
            "retrieval_standard_score": pairs.standard_score,
            "log_rank": np.log(pairs.rank),
            **_by_source(pairs),
            **pairs.related,
            "price_gap": gap,
            "price_distance": np.abs(gap),
            **self._history.features(pairs.user, pairs.item),
            **self._category.features(pairs.user, category, "category"),
            **self._brand.features(pairs.user, brand, "brand"),
            "last_item": last == pairs.item,
            "last_category": (items.category[last] == category) & (category > 0),
            "last_brand": (items.brand[last] == brand) & (brand > 0),
        }

    def _sparse(self, pairs: Pairs) -> dict[str, tuple[IndexArray, int]]:
        rank = np.minimum(2.0 * np.log2(pairs.rank), RANK_BUCKETS - 2).astype(np.int32) + 1
        return {"rank": (rank, RANK_BUCKETS), "category_cross": (self._crossed(pairs), self._spec.value_buckets)}

    def _crossed(self, pairs: Pairs) -> IndexArray:
        """The cross-product of the last item's category and this one's (wide & deep, arXiv:1606.07792), hashed."""
        before = self._items.category_hash[self._last.item][pairs.user].astype(np.int64)
        after = self._items.category_hash[pairs.item].astype(np.int64)
        mixed = (before * 2_654_435_761 + after * 40_503) % (self._spec.value_buckets - 1) + 1
        return np.where((before > 0) & (after > 0), mixed, 0).astype(np.int32)


def _by_source(pairs: Pairs) -> dict[str, npt.NDArray[Any]]:
    """By source: whether it proposed the pair, its score, and that standardised; `filled` if none proposed it."""
    named: dict[str, npt.NDArray[Any]] = {"filled": pairs.source & columns.source_bit("fill") > 0}
    for name, scores in pairs.by_source.items():
        named[f"from_{name}"] = pairs.source & columns.source_bit(name) > 0
        named[f"score_{name}"] = scores
        named[f"standard_{name}"] = pairs.standard_by_source[name]
        named[f"closeness_{name}"] = pairs.closeness_by_source[name]
    return named


def assembled(users: Block, items: Block, pairs: Block, user: IndexArray, item: IndexArray) -> tuple[Any, Any]:
    """dense float32[pairs, D] and sparse int32[pairs, S]: user's, item's and pair's features side by side."""
    blocks = (users.take(user), items.take(item), pairs)
    return (
        np.concatenate([block.dense for block in blocks], axis=1),
        np.concatenate([block.sparse for block in blocks], axis=1),
    )
