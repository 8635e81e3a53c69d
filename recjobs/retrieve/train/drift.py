"""Drift: how much less well a chain of warm nights foresees the day than it did when it was trained in full.

Every warm night begins with a test that no training has spoilt: the carried towers, users as they
stood in the earlier night's states, and the events since, which nothing has learnt from yet. Days
differ in how easily they are foreseen, so recall is taken relative to what the most popular items of
the earlier night reach on the same users and events: more of them than the towers are given, so that
they are hit about as often and the ratio is nearly as sure as the towers' recall. The first warm night
after a full training tests the towers of that training: later nights are compared with it. A small
shop's nights tell little, so only what chance does not explain counts as drift.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns as c
from recjobs.manifest import DRIFT, WARM_NIGHTS, Manifest
from recjobs.retrieve.frames import read_frame
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.export import ServingUserTower, representations
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.rows import RowMap, identified, row_map, together
from recjobs.retrieve.user_features import (
    HISTORY_COLUMNS,
    SIDE_FIELDS,
    UserColumns,
    by_history_length,
    context_columns,
    list_time,
    tower_inputs,
)
from recjobs.settings import Settings
from recjobs.storage import StoredFile

LIFT, LIFT_ERROR = "reference_lift", "reference_error"
"""Metrics of a warm night, beside those that plans go by."""
SURE = 2.0
"""Standard errors by which lift must have fallen before any of it counts."""
K = 20
POPULAR, POPULAR_SHARE = 5 * K, 0.1
"""So many of the most popular items are set against the towers' K; at most this share of the catalogue, K at least."""
USERS = 5_000
"""At least so many users are tested, where as many have events: whole shards, in their order."""
_USERS_A_CALL, _CELLS_A_CALL = 1024, 2_000_000
_ROW = "row"


@dataclass(frozen=True)
class Foresight:
    """Mean recall over `users`, of the first K of the carried towers and of the most popular items.

    `error` is the standard error of the logarithm of their ratio, the lift.
    """

    recall: float
    popular: float
    error: float
    users: int

    @property
    def lift(self) -> float:
        """How many times what popularity foresees the towers do; 0 where that can't be told."""
        return self.recall / self.popular if self.recall > 0 and self.popular > 0 else 0.0


def foresight_of(recall: npt.NDArray[np.float64], popular: npt.NDArray[np.float64]) -> Foresight:
    """From each user's recall of both; the error of their ratio by the delta method, users drawn independently."""
    if not len(recall) or not recall.any() or not popular.any():
        return Foresight(_mean(recall), _mean(popular), 0.0, len(recall))
    spread = np.std(recall / recall.mean() - popular / popular.mean())
    return Foresight(_mean(recall), _mean(popular), float(spread / np.sqrt(len(recall))), len(recall))


def drift_of(seen: Foresight, earlier: Mapping[str, float]) -> dict[str, float]:
    """The night's metrics, from tonight's test and the earlier night's metrics.

    `drift_estimate` is the share of the reference's lift that is lost, negative where lift has risen; `drift` the
    part of it that chance does not explain (beyond `SURE` standard errors of both tests), never negative. Both are 0
    on the first warm night, whose test is the reference, and where nothing could be tested.
    """
    known = earlier.get(WARM_NIGHTS, 0.0) > 0 and earlier.get(LIFT, 0.0) > 0
    reference, error = (earlier[LIFT], earlier[LIFT_ERROR]) if known else (seen.lift, seen.error)
    told = known and seen.lift > 0
    lost = float(np.log(reference / seen.lift)) if told else 0.0
    sure = max(0.0, lost - SURE * float(np.hypot(error, seen.error))) if told else 0.0
    return {
        DRIFT: 1 - float(np.exp(-sure)),
        "drift_estimate": 1 - float(np.exp(-lost)),
        LIFT: reference,
        LIFT_ERROR: error,
        "carried_recall": seen.recall,
        "popular_recall": seen.popular,
    }


def foresight(
    model: TwoTower, rows: RowMap, before: Manifest, extract: Manifest, train_until: date, config: Settings
) -> Foresight:
    """Tests the carried towers on the events after what `before` knew, until `train_until`.

    `rows` are the users' rows. Only users that `before` knew are tested, on items that may be recommended tonight.
    """
    items = _items(before, extract)
    people, truths = [], []
    tested = 0
    for users, truth in _tests(before, extract, train_until, items, config, model.users.further):
        people.append(_placed(users, items.tonight, rows.forward))
        truths.append(truth.with_columns(pl.col(_ROW) + tested))
        tested += users.height
        if tested >= USERS:
            break
    if not people:
        return foresight_of(np.zeros(0), np.zeros(0))
    truth = pl.concat(truths)
    top = _Ranking(model, items, list_time(before.cutoffs.history_until)).top(pl.concat(people))
    return foresight_of(_recall(top, truth), _recall(items.popular[None], truth))


@dataclass(frozen=True)
class _Items:
    """Tonight's catalogue: `count` items, the indexes of those that may be recommended, ascending, and their ids."""

    count: int
    available: npt.NDArray[np.int64]
    names: pl.DataFrame
    """`item_id` and `item_index` of the available."""
    tonight: npt.NDArray[np.int64]
    """By the earlier night's index: tonight's, 0 for an item that is gone."""
    popular: npt.NDArray[np.int64]
    """Those with the most events the night before, by tonight's index."""


def _items(before: Manifest, extract: Manifest) -> _Items:
    now, then = (read_frame(one.uri("items.parquet"), [c.ITEM, c.ITEM_INDEX, c.AVAILABLE]) for one in (extract, before))
    names = now.filter(pl.col(c.AVAILABLE).fill_null(value=True)).select(c.ITEM, c.ITEM_INDEX)
    pair = identified(then, c.ITEM, c.ITEM_INDEX), identified(now, c.ITEM, c.ITEM_INDEX)
    tonight = row_map([pair], before=then.height + 1, rows=now.height + 1).forward
    available = names[c.ITEM_INDEX].to_numpy().astype(np.int64)
    # `extract` numbers items by their events, the most first.
    popular = tonight[1:][np.isin(tonight[1:], available)][: _popular(len(available))]
    return _Items(now.height, available, names, tonight, popular)


def _popular(items: int) -> int:
    return max(K, min(POPULAR, int(POPULAR_SHARE * items)))


class _Ranking:
    """The first K of the catalogue for users as they were at a time."""

    def __init__(self, model: TwoTower, items: _Items, now: int) -> None:
        candidates, history = representations(model, items.count)
        self.tower = ServingUserTower(model, history)
        self.further = model.users.further
        self.context, self.device = model.config.context, model.config.list_device
        self.catalogue = model.items.vector(tf.gather(candidates, items.available))
        self.available = items.available
        self.length = model.config.sequence_length
        self.now = now

    def top(self, users: pl.DataFrame) -> npt.NDArray[np.int64]:
        """Tonight's item indexes, int64[users, K]."""
        k = min(K, len(self.available))
        top = np.zeros((users.height, k), np.int64)
        for rows in by_history_length(users, length=self.length, most=_USERS_A_CALL, cells=_CELLS_A_CALL):
            inputs = tower_inputs(
                users[rows],
                length=self.length,
                now=self.now,
                further=self.further,
                context=self.context,
                device=self.device,
            )
            # So few calls are sooner made one by one than traced.
            vectors = self.tower.answer({name: tf.constant(values) for name, values in inputs.items()})[c.VECTOR]
            scores = tf.matmul(vectors, self.catalogue, transpose_b=True)
            top[rows] = self.available[tf.math.top_k(scores, k).indices.numpy()]
        return top


def _tests(
    before: Manifest, extract: Manifest, train_until: date, items: _Items, config: Settings, further: UserColumns
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Shard by shard: users' histories as `before` knew them with what else is known tonight (tokens are numbered
    anew every night), and `row` (of the user) and `item_index` of what they did since."""
    after = max(before.cutoffs.train_until, before.cutoffs.history_until)
    liked = [name for name, kind in config.events.types.items() if kind.weight > 0]
    time = pl.col(c.TIMESTAMP).dt.epoch("s")
    within = (time >= list_time(after)) & (time < list_time(train_until))
    about = [c.USER, *SIDE_FIELDS, *further.state_columns()]
    stood = [c.USER, c.USER_INDEX, *HISTORY_COLUMNS, *context_columns(config.retrieve.train.context)]
    shards = [reaching(shard, after) for shard in extract.shards("events")]
    for states, known, happened in together(before.shards("users"), extract.shards("users"), shards):
        events = pl.concat([read_frame(uri, [c.USER, c.ITEM, c.EVENT_TYPE, c.TIMESTAMP]) for uri in happened])
        did = events.filter(within & pl.col(c.EVENT_TYPE).is_in(liked)).join(items.names, on=c.ITEM)
        did = did.select(c.USER, c.ITEM_INDEX).unique()
        users = pl.concat([read_frame(uri, stood) for uri in states])
        tonight = pl.concat([read_frame(uri, about) for uri in known])
        users = users.join(did, on=c.USER, how="semi").join(tonight, on=c.USER).sort(c.USER)
        if users.height:
            yield users, did.join(users.select(c.USER).with_row_index(_ROW), on=c.USER).select(_ROW, c.ITEM_INDEX)


def reaching(shard: Sequence[StoredFile], after: date) -> list[StoredFile]:
    """The files of a shard's canonical events that may hold something after the day `after`.

    A week's file ends where the next one that there is begins; the last one has no end.
    """
    ends = [_start_of(file) for file in shard[1:]]
    return [*(file for file, end in zip(shard, ends, strict=False) if end > after + timedelta(days=1)), *shard[-1:]]


def _start_of(file: StoredFile) -> date:
    return date.fromisoformat(file.name.split("/")[-2].rpartition("=")[2])


def _placed(
    users: pl.DataFrame, item_tonight: npt.NDArray[np.int64], user_tonight: npt.NDArray[np.int64]
) -> pl.DataFrame:
    """The users with tonight's indexes; items that are gone leave the history."""
    events = users.select(pl.int_range(pl.len()).alias(_ROW), *HISTORY_COLUMNS).explode(HISTORY_COLUMNS)
    index = item_tonight[events[c.HISTORY_ITEM].fill_null(0).to_numpy()]
    events = events.with_columns(pl.Series(c.HISTORY_ITEM, index)).filter(pl.col(c.HISTORY_ITEM) > 0)
    histories = events.group_by(_ROW, maintain_order=True).agg(HISTORY_COLUMNS)
    rows = users.drop(HISTORY_COLUMNS).with_columns(
        pl.Series(c.USER_INDEX, _looked_up(user_tonight, users[c.USER_INDEX].to_numpy())),
        pl.int_range(pl.len()).alias(_ROW),
    )
    joined = rows.join(histories, on=_ROW, how="left", maintain_order="left").drop(_ROW)
    return joined.with_columns(pl.col(HISTORY_COLUMNS).fill_null([]))


def _looked_up(table: npt.NDArray[np.int64], index: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """`table` at each index; 0 beyond its end: towers without an embedding of users have no rows."""
    return np.where(index < len(table), table[np.minimum(index, len(table) - 1)], 0)


def _recall(top: npt.NDArray[np.int64], truth: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Each user's share of items that are in the user's row of `top` (or in its only row): float64[users]."""
    row, item = truth[_ROW].to_numpy(), truth[c.ITEM_INDEX].to_numpy()
    lists = top[row] if len(top) > 1 else top
    hit = (lists == item[:, None]).any(axis=1)
    shares: npt.NDArray[np.float64] = np.bincount(row, hit) / np.bincount(row)
    return shares


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0
