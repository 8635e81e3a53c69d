"""Judges lists on what happened after them, beside what was popular when they were made.

The truth of a user is the set of distinct items with an outcome in the days judged, whether or not the item was in
the catalogue when the lists were made. Users without an outcome are not judged; users with one but without a list
(who came later) can't be. A second judgement, with measures named `…_new`, looks at items new to the
user alone: items the user had an outcome with before are taken out of list and truth.

Nothing here reads a clock or a source: the same lists and outcomes give the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.columns import ITEM, USER
from recjobs.evaluate.baseline import POPULARITY, pair_keys, popular_lists
from recjobs.evaluate.bootstrap import Resampled, resample
from recjobs.evaluate.items import Items, load_items
from recjobs.evaluate.measures import Floats, columns_of, measure
from recjobs.manifest import Manifest
from recjobs.ragged import places_in_runs, rows_of
from recjobs.settings import Settings

RECJOBS = "recjobs"
DIFFERENCE = f"{RECJOBS} - {POPULARITY}"
COVERAGE = "coverage"
ALL, NEW = "", "_new"
"""Suffixes of the measures' names: over all items, over items new to the user."""

Row = dict[str, Any]
"""`surface`, `list`, `metric`, `k`, `value`, `users`."""


@dataclass(frozen=True)
class Rules:
    """What the lists are held to."""

    at: tuple[int, ...]
    outcome_codes: frozenset[int]
    no_repeat: Mapping[str, frozenset[int]]
    """By surface: codes of the event types after which an item is not shown again."""
    resamplings: int
    confidence: float
    seed: int


def rules_of(settings: Settings) -> Rules:
    """The rules in `settings`."""
    codes = settings.event_codes()
    return Rules(
        at=tuple(sorted(set(settings.evaluate.at))),
        outcome_codes=frozenset(codes[name] for name in outcome_types(settings)),
        no_repeat={
            surface: frozenset(codes[name] for name in rules.no_repeat)
            for surface, rules in settings.compose.surfaces.items()
        },
        resamplings=settings.evaluate.bootstrap,
        confidence=settings.evaluate.confidence,
        seed=settings.seed,
    )


def outcome_types(settings: Settings) -> list[str]:
    """The event types that count as an outcome, in the order of settings."""
    chosen = settings.evaluate.outcome_types
    positive = [name for name, kind in settings.events.types.items() if kind.weight > 0 and kind.has_item]
    return [name for name in settings.events.types if name in chosen] if chosen else positive


def judged_items(extract: Manifest, settings: Settings) -> Items:
    """The items as of the lists' date, popular by the counts of that date: nothing later is in them."""
    weights = {name: kind.weight for name, kind in settings.events.types.items() if kind.weight > 0}
    return load_items(extract.uri("items.parquet"), settings.compose.exclude_items, weights)


@dataclass(frozen=True)
class Group:
    """Sums over the users of one judgement (all items, or new ones). Adds up."""

    users: int
    sums: Mapping[str, Floats]
    """By list: the sum of each measure, in the order of `columns_of`."""
    difference: Resampled

    def __add__(self, other: Group) -> Group:
        sums = {name: self.sums[name] + other.sums[name] for name in self.sums}
        return Group(self.users + other.users, sums, self.difference + other.difference)


@dataclass
class Tally:
    """What was counted for one surface. Adds up over shards."""

    lists: int
    groups: dict[str, Group]
    shown: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """By list: bool[len(at), I + 1], the items on the first k places of anybody's list."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.lists + other.lists,
            {name: group + other.groups[name] for name, group in self.groups.items()},
            {name: shown | other.shown[name] for name, shown in self.shown.items()},
        )


@dataclass(frozen=True)
class Ranked:
    """Lists in one table: the user's row, the item's index and its rank from 0."""

    rows: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    ranks: npt.NDArray[np.int64]

    def without(self, keys: npt.NDArray[np.int64], stride: int) -> Ranked:
        """The lists without the (row, item) of `keys`; what follows moves up."""
        mine = pl.Series(self.rows.astype(np.int64) * stride + self.items)
        kept = ~mine.is_in(pl.Series(keys).implode()).to_numpy()
        rows = self.rows[kept]
        return Ranked(rows, self.items[kept], places_in_runs(rows))


def judge_shard(
    lists: pl.DataFrame,
    states: pl.DataFrame,
    outcomes: pl.DataFrame,
    items: Items,
    surface: str,
    rules: Rules,
    shard: int = 0,
) -> Tally:
    """Judges the lists of one shard on one surface.

    `lists` (`user_id`, `item_id` list) and `states` (`user_id`, `pair_item`, `pair_type`) have a row for each user, in
    the same order; `outcomes` (`user_id`, `item_id`) are those of the shard's users, repeated or not.
    """
    stride = items.size + 1
    made = _ranked_lists(lists, items)
    length = int(np.bincount(made.rows).max(initial=0))
    barred = pair_keys(states, rules.no_repeat.get(surface, frozenset()), stride)
    rows, popular = popular_lists(items.by_popularity, lists.height, length, barred, stride)
    ranked = {RECJOBS: made, POPULARITY: Ranked(rows, popular, places_in_runs(rows))}
    truth = _truth(lists, outcomes, items)
    known = pair_keys(states, rules.outcome_codes, stride)
    fresh = truth.filter(~pl.Series(truth["key"]).is_in(pl.Series(known).implode()) | (pl.col("index") == 0))
    return Tally(
        lists=lists.height,
        groups={
            ALL: _judge(ranked, truth, stride, rules, (rules.seed, shard, 0)),
            NEW: _judge(
                {name: one.without(known, stride) for name, one in ranked.items()},
                fresh,
                stride,
                rules,
                (rules.seed, shard, 1),
            ),
        },
        shown={name: _shown(one, rules.at, stride) for name, one in ranked.items()},
    )


def _ranked_lists(lists: pl.DataFrame, items: Items) -> Ranked:
    names, lengths = lists[ITEM].explode(), lists[ITEM].list.len().to_numpy().astype(np.int64)
    rows = rows_of(lengths)
    return Ranked(rows, items.indexes(names.drop_nulls()), places_in_runs(rows))


def _truth(lists: pl.DataFrame, outcomes: pl.DataFrame, items: Items) -> pl.DataFrame:
    """Rows (`row`, `index`, `key`): the distinct outcome items of users with a list, index 0 where unknown then."""
    rows = lists.select(USER).with_row_index("row")
    distinct = outcomes.select(USER, ITEM).unique().join(rows, on=USER).sort("row", ITEM)
    index = items.indexes(distinct[ITEM])
    row = distinct["row"].to_numpy().astype(np.int64)
    return pl.DataFrame({"row": row, "index": index, "key": row * (items.size + 1) + index})


def _judge(
    ranked: Mapping[str, Ranked], truth: pl.DataFrame, stride: int, rules: Rules, seed: tuple[int, ...]
) -> Group:
    judged, sizes = np.unique(truth["row"].to_numpy(), return_counts=True)
    wanted = truth.filter(pl.col("index") > 0)["key"]
    measured = {}
    for name, lists in ranked.items():
        hit = pl.Series(lists.rows.astype(np.int64) * stride + lists.items).is_in(wanted.implode()).to_numpy()
        at = np.searchsorted(judged, lists.rows[hit])
        measured[name] = measure(at, lists.ranks[hit], sizes, rules.at)
    difference = measured[RECJOBS] - measured[POPULARITY]
    sums = {name: values.sum(axis=0) for name, values in measured.items()}
    return Group(len(judged), sums, resample(difference, rules.resamplings, seed))


def _shown(lists: Ranked, at: tuple[int, ...], stride: int) -> npt.NDArray[np.bool_]:
    shown = np.zeros((len(at), stride), np.bool_)
    for place, k in enumerate(at):
        shown[place, lists.items[lists.ranks < k]] = True
    shown[:, 0] = False
    return shown


def metric_rows(tally: Tally, surface: str, items: Items, rules: Rules) -> list[Row]:
    """The rows of one surface: each measure of each list, the difference with its interval, and coverage.

    Coverage at k is the share of the catalogue's eligible items on the first k places of anybody's list. Without a
    user to judge there are no rows.
    """
    if tally.groups[ALL].users == 0:
        return []
    rows = [row for suffix, group in tally.groups.items() if group.users for row in _group_rows(group, suffix, rules)]
    eligible = max(int(items.eligible.sum()), 1)
    for name, shown in tally.shown.items():
        for k, share in zip(rules.at, (shown & items.eligible).sum(axis=1) / eligible, strict=True):
            rows.append({"list": name, "metric": COVERAGE, "k": k, "value": float(share), "users": tally.lists})
    return [{"surface": surface, **row} for row in rows]


def _group_rows(group: Group, suffix: str, rules: Rules) -> Iterator[Row]:
    means = {name: sums / group.users for name, sums in group.sums.items()}
    low, high = group.difference.interval(rules.confidence)
    for place, (measured, k) in enumerate(columns_of(rules.at)):
        metric = measured + suffix
        values = {(name, metric): mean[place] for name, mean in means.items()}
        values[DIFFERENCE, metric] = means[RECJOBS][place] - means[POPULARITY][place]
        values[DIFFERENCE, f"{metric}_low"] = low[place]
        values[DIFFERENCE, f"{metric}_high"] = high[place]
        for (name, called), value in values.items():
            yield {"list": name, "metric": called, "k": k, "value": float(value), "users": group.users}


def judge(lists: Manifest, states: Manifest, outcomes: pl.DataFrame, settings: Settings, until: date) -> list[Row]:
    """Rows of `metrics.json` for the lists of `lists` (of `compose`) on `outcomes` (`user_id`, `item_id`).

    `states` is the `extract` of the same run. `outcomes` are all of the days after the lists' date up to and with
    `until`, of the types of `outcome_types`; they are held in memory whole. What a nightly run does in `evaluate`,
    for any published date.
    """
    rules, items = rules_of(settings), judged_items(states, settings)
    rows: list[Row] = []
    for surface in storage.list_folders(lists.uri("lists")):
        tallies = [
            judge_part(part.uri, states.uri("users", part.name), outcomes, items, surface, rules, shard)
            for shard, part in enumerate(lists.parts("lists", surface))
        ]
        total = combine({surface: tally} for tally in tallies)[surface]
        rows += metric_rows(total, surface, items, rules)
    return dated(rows, ds=until, judged=lists.ds, until=until)


def judge_part(
    lists_uri: str, states_uri: str, outcomes: pl.DataFrame, items: Items, surface: str, rules: Rules, shard: int
) -> Tally:
    """`judge_shard` of files; outcomes of users of other shards are left out."""
    lists = read_columns(lists_uri, [USER, ITEM])
    states = read_columns(states_uri, [USER, columns.PAIR_ITEM, columns.PAIR_TYPE])
    states = lists.select(USER).join(states, on=USER, how="left", maintain_order="left")
    mine = outcomes.join(lists.select(USER), on=USER, how="semi")
    return judge_shard(lists, states, mine, items, surface, rules, shard)


def combine(tallies: Iterable[Mapping[str, Tally]]) -> dict[str, Tally]:
    """Tallies by surface, summed."""
    total: dict[str, Tally] = {}
    for tally in tallies:
        for surface, counted in tally.items():
            total[surface] = total[surface] + counted if surface in total else counted
    return total


def dated(rows: Iterable[Row], *, ds: date, judged: date, until: date) -> list[Row]:
    """`rows` as they stand in `metrics.json`."""
    return [{"ds": str(ds), "judged": str(judged), "until": str(until), **row} for row in rows]


def read_columns(uri: str, names: list[str]) -> pl.DataFrame:
    """Columns of a Parquet file."""
    with storage.reading(uri) as stream:
        return pl.DataFrame(pl.from_arrow(pq.read_table(stream, columns=names)))
