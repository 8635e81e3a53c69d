"""Counts what is wrong with tonight's lists, from the files alone.

`compose` checks what it writes; here the same promises are counted again from what was written and from `extract`'s
users and items, by other code, so that a fault in either is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.columns import ITEM, LIST_SCHEMA, REASON, SCORE, SEGMENT, USER
from recjobs.errors import CorruptFileError
from recjobs.evaluate.baseline import pair_keys
from recjobs.evaluate.items import Items

USER_FAULTS = {
    "every user has one list": "users of extract without exactly one list, or lists of nobody",
    "lists are full": "lists that do not have the full length",
    "columns line up": "lists whose items, scores and reasons are not equally many",
    "no duplicates": "lists with an item twice",
    "nothing ineligible": "places with an item that is unavailable, excluded or unknown",
    "scores are finite": "scores that are missing or not finite",
    "scores do not rise": "lists whose scores rise",
    "no repeats": "places that break the no-repeat rule though other items were left",
    "every item has a reason": "places without a reason",
}
"""What is counted in users' lists: the promise, and what its fault is."""


@dataclass(frozen=True)
class SurfaceRules:
    """What the lists of one surface must keep."""

    length: int
    """The surface's length, or the number of eligible items where there are fewer."""
    no_repeat: frozenset[int]
    with_reasons: bool
    shown: npt.NDArray[np.bool_] | None = None
    """[I + 1]: what the surface's includes and excludes let in; None where there are none."""
    ruled: npt.NDArray[np.bool_] | None = None
    """[I + 1]: where a repeat rule decides, so that `no_repeat` alone does not."""

    def narrowed(self, items: Items) -> Items:
        """`items` with nothing eligible but what the surface lets in."""
        return items if self.shown is None else replace(items, eligible=items.eligible & self.shown)


@dataclass
class Seen:
    """What was counted in one surface's lists. Adds up over shards."""

    users: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    """Lists by their length."""
    regimes: Counter[str] = field(default_factory=Counter)
    exposure: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """[I + 1]: how many lists each item is on."""

    def __add__(self, other: Seen) -> Seen:
        longer, shorter = sorted((self.exposure, other.exposure), key=len, reverse=True)
        exposure = longer.copy()
        exposure[: len(shorter)] += shorter
        return Seen(
            self.users + other.users,
            _sum(self.faults, other.faults),
            _sum(self.lengths, other.lengths),
            _sum(self.regimes, other.regimes),
            exposure,
        )


def combine(parts: Iterable[Mapping[str, Seen]]) -> dict[str, Seen]:
    """What was counted in several shards, by surface."""
    total: dict[str, Seen] = {}
    for part in parts:
        for surface, seen in part.items():
            total[surface] = total.get(surface, Seen()) + seen
    return total


def inspect_part(lists_uri: str | None, users: pl.DataFrame, items: Items, rules: SurfaceRules) -> Seen:
    """What is in one part of user lists. `users` are the shard's states (`user_id`, `pair_item`, `pair_type`).

    A part that is not there counts as users without a list.
    """
    if lists_uri is None:
        return Seen(users.height, Counter({"every user has one list": users.height}))
    return inspect(read_lists(lists_uri), users, items, rules)


def read_lists(uri: str) -> pl.DataFrame:
    """User lists as written.

    Raises:
        CorruptFileError: the file does not have the columns of lists.
    """
    with storage.reading(uri) as stream:
        table = pq.read_table(stream)
    if [name for name in table.schema.names if name != columns.PROPENSITY] != LIST_SCHEMA.names:
        raise CorruptFileError(
            f"{uri} has columns {table.schema.names}, lists have {LIST_SCHEMA.names}. Run compose again.", uri=uri
        )
    return pl.DataFrame(pl.from_arrow(table))


def read_rules(uri: str, items: Items) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """What `compose` says the rules of a surface make of each item, bool[I + 1] each: let in, and ruled on repeats."""
    with storage.reading(uri) as stream:
        frame = pl.DataFrame(pl.from_arrow(pq.read_table(stream)))
    indexes = items.indexes(frame[ITEM])
    shown, ruled = np.zeros(items.size + 1, np.bool_), np.zeros(items.size + 1, np.bool_)
    shown[indexes], ruled[indexes] = frame[columns.ELIGIBLE].to_numpy(), frame[columns.RULED].to_numpy()
    shown[0] = ruled[0] = False
    return shown, ruled


def inspect(lists: pl.DataFrame, users: pl.DataFrame, items: Items, rules: SurfaceRules) -> Seen:
    """What is in `lists` (`LIST_SCHEMA`), which should be those of `users`."""
    items = rules.narrowed(items)
    numbered = lists.with_row_index("row")
    flat = _flat(numbered, ITEM)
    indexes = items.indexes(flat[ITEM])
    placed = flat.with_columns(pl.Series("index", indexes), pl.Series("shown", items.eligible[indexes]))
    faults = {
        "every user has one list": _unmatched(lists, users),
        "lists are full": int((lists[ITEM].list.len() != rules.length).sum()),
        "columns line up": _uneven(lists),
        "no duplicates": int((lists[ITEM].list.n_unique() != lists[ITEM].list.len()).sum()),
        "nothing ineligible": int((~placed["shown"]).sum()),
        **_score_faults(numbered),
        "no repeats": _repeats(placed, lists, users, items, rules),
        "every item has a reason": _unreasoned(numbered) if rules.with_reasons else 0,
    }
    return Seen(
        users.height,
        Counter(faults),
        Counter(lists[ITEM].list.len().to_list()),
        Counter(lists[columns.REGIME].to_list()),
        np.bincount(indexes, minlength=items.size + 1).astype(np.int64),
    )


def _unmatched(lists: pl.DataFrame, users: pl.DataFrame) -> int:
    owned = lists.select(pl.col(USER).cast(pl.String)).group_by(USER).agg(pl.len().alias("owned"))
    wanted = users.select(pl.col(USER).cast(pl.String)).with_columns(wanted=pl.lit(1))
    both = wanted.join(owned, on=USER, how="full", coalesce=True)
    return both.filter((pl.col("owned").fill_null(0) != 1) | pl.col("wanted").is_null()).height


def _uneven(lists: pl.DataFrame) -> int:
    long = pl.col(ITEM).list.len()
    return lists.filter((long != pl.col(SCORE).list.len()) | (long != pl.col(REASON).list.len())).height


def _score_faults(numbered: pl.DataFrame) -> dict[str, int]:
    scores = _flat(numbered, SCORE)
    numbers = scores.filter(pl.col(SCORE).is_finite())
    rises = (pl.col(SCORE) > pl.col(SCORE).shift(1)) & (pl.col("row") == pl.col("row").shift(1))
    return {
        "scores are finite": scores.height - numbers.height,
        "scores do not rise": numbers.filter(rises)["row"].n_unique(),
    }


def _unreasoned(numbered: pl.DataFrame) -> int:
    reasons = _flat(numbered, REASON)
    return reasons.filter(pl.col(REASON).fill_null("").str.len_bytes() == 0).height


def _repeats(placed: pl.DataFrame, lists: pl.DataFrame, users: pl.DataFrame, items: Items, rules: SurfaceRules) -> int:
    """Repeats beyond those without which a list could not be full; those of items with a rule of their own aside."""
    stride = items.size + 1
    states = lists.select(USER).join(users, on=USER, how="left", maintain_order="left")
    keys = pair_keys(states, rules.no_repeat, stride)
    counted = items.eligible if rules.ruled is None else items.eligible & ~rules.ruled
    keys = keys if rules.ruled is None else keys[~rules.ruled[keys % stride]]
    shown = keys[counted[keys % stride]]
    free = int(counted.sum()) - np.bincount(shown // stride, minlength=lists.height)
    allowed = np.maximum(rules.length - free, 0)
    mine = placed["row"].to_numpy().astype(np.int64) * stride + placed["index"].to_numpy()
    repeated = pl.Series(mine).is_in(pl.Series(keys).implode()).to_numpy()
    found = np.bincount(placed["row"].to_numpy()[repeated], minlength=lists.height)
    return int(np.maximum(found - allowed, 0).sum())


def segment_faults(segments: pl.DataFrame, items: Items, length: int) -> dict[str, int]:
    """What is wrong with one surface's segment lists (`SEGMENT_LIST_SCHEMA`)."""
    indexes = items.indexes(segments[ITEM].explode().drop_nulls())
    lengths = segments[ITEM].list.len()
    return {
        "segments have all": int(columns.GLOBAL_SEGMENT not in segments[SEGMENT].to_list()),
        "segments are distinct": segments.height - segments[SEGMENT].n_unique(),
        "segment lists are full": int((lengths != length).sum()),
        "segment lists have no duplicates": int((segments[ITEM].list.n_unique() != lengths).sum()),
        "segment lists have nothing ineligible": int((~items.eligible[indexes]).sum()),
    }


def item_faults(similar: pl.DataFrame, items: Items) -> dict[str, int]:
    """What is wrong with the lists of similar items (`ITEM_LIST_SCHEMA`)."""
    flat = similar.select(ITEM, columns.SIMILAR_ITEM).filter(pl.col(columns.SIMILAR_ITEM).list.len() > 0)
    placed = flat.explode(columns.SIMILAR_ITEM)
    lengths = similar[columns.SIMILAR_ITEM].list.len()
    return {
        "similar items are distinct": int((similar[columns.SIMILAR_ITEM].list.n_unique() != lengths).sum()),
        "no item is similar to itself": placed.filter(pl.col(ITEM) == pl.col(columns.SIMILAR_ITEM)).height,
        "similar items are eligible": int((~items.eligible[items.indexes(placed[columns.SIMILAR_ITEM])]).sum()),
        "one list for each item": similar.height - similar[ITEM].n_unique(),
    }


def _flat(lists: pl.DataFrame, column: str) -> pl.DataFrame:
    return lists.select("row", column).filter(pl.col(column).list.len() > 0).explode(column)


def _sum(one: Counter, other: Counter) -> Counter:  # type: ignore[type-arg]
    total = Counter(one)
    total.update(other)
    return total
