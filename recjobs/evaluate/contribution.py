"""What each candidate source is worth: the outcomes it found, and those that nobody else did.

Looked at where the lists are judged, on the same outcomes: they lie after the night that made the candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.columns import ITEM, ITEM_INDEX, SOURCE, USER
from recjobs.evaluate.items import Items
from recjobs.manifest import Manifest

SHARE, ALONE, RECALL, RECALL_ALONE = "share", "alone", "recall", "recall_alone"
EVERY = "all"
"""All sources together."""
_COLUMNS = [USER, ITEM_INDEX, SOURCE]


@dataclass(frozen=True)
class Contribution:
    """Counts and sums of a shard, by source and of `all`. Adds up."""

    candidates: int
    proposed: Mapping[str, float]
    """Candidates that the source proposed."""
    alone: Mapping[str, float]
    """Those that nobody else did."""
    users: int
    """Users with candidates and an outcome."""
    found: Mapping[str, float]
    """The sum over them of the share of a user's outcomes that is among what the source proposed."""
    found_alone: Mapping[str, float]
    """The same among what nobody else proposed."""

    def __add__(self, other: Contribution) -> Contribution:
        pairs = (
            (self.proposed, other.proposed),
            (self.alone, other.alone),
            (self.found, other.found),
            (self.found_alone, other.found_alone),
        )
        proposed, alone, found, found_alone = ({name: one[name] + two[name] for name in one} for one, two in pairs)
        return Contribution(
            self.candidates + other.candidates, proposed, alone, self.users + other.users, found, found_alone
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row for each of `columns.SOURCES` and one for `all` of them together.

        `source`; `share` of the candidates that it proposed, `alone` the share that nobody else did; `recall`, the
        mean share of a user's outcomes among what it proposed, `recall_alone` the same among what nobody else did:
        what would be lost without it, were nothing put in its place. None where there is nothing to divide by.
        """
        return [
            {
                SOURCE: name,
                SHARE: _ratio(self.proposed[name], self.candidates),
                ALONE: _ratio(self.alone[name], self.candidates),
                RECALL: _ratio(self.found[name], self.users),
                RECALL_ALONE: _ratio(self.found_alone[name], self.users),
                "users": self.users,
            }
            for name in (*columns.SOURCES, EVERY)
        ]


def contribution_of(candidates: pl.DataFrame, outcomes: pl.DataFrame) -> Contribution:
    """What sources brought in `candidates` (rows of `CANDIDATE_SCHEMA`), and what of `outcomes` they found.

    `outcomes` has `user_id` and `item_index`, a row each; index 0, an item that was unknown then, is found by nobody.
    Users who are not in `candidates`, or have no outcome, count in no mean.
    """
    bits, counts = np.unique(candidates[SOURCE].explode().drop_nulls().to_numpy(), return_counts=True)
    told = {name: columns.source_bit(name) for name in columns.SOURCES}
    proposed = {name: int(counts[(bits & bit) > 0].sum()) for name, bit in told.items()}
    alone = {name: int(counts[bits == bit].sum()) for name, bit in told.items()}
    total = int(counts.sum())
    means = _means(candidates, outcomes)
    sums = means.select(pl.exclude(USER).sum()).row(0, named=True)
    return Contribution(
        total,
        proposed | {EVERY: total},
        alone | {EVERY: total},
        means.height,
        {name: sums[f"{RECALL} {name}"] for name in (*told, EVERY)},
        {name: sums[f"{RECALL_ALONE} {name}"] for name in (*told, EVERY)},
    )


def judge_sources(search: Manifest, outcomes: pl.DataFrame, items: Items) -> Contribution:
    """`contribution_of` all candidates of `search`, shard by shard.

    `outcomes` (`user_id`, `item_id`, each pair once) are of the days after; `items` are those of the candidates' date.
    """
    return added(judge_part(part.uri, outcomes, items) for part in search.parts("candidates"))


def judge_part(uri: str, outcomes: pl.DataFrame, items: Items) -> Contribution:
    """`contribution_of` a file of candidates; outcomes of users of other shards are left out."""
    with storage.reading(uri) as stream:
        candidates = pl.DataFrame(pl.from_arrow(pq.read_table(stream, columns=_COLUMNS)))
    index = pl.Series(ITEM_INDEX, items.indexes(outcomes[ITEM]), dtype=pl.Int32)
    return contribution_of(candidates, outcomes.select(USER).with_columns(index))


def added(parts: Iterable[Contribution]) -> Contribution:
    """The sum of one or more."""
    return reduce(add, parts)


def is_told(search: Manifest) -> bool:
    """Whether candidates say which sources brought them, as those of versions before there were sources do not."""
    first = next(iter(search.parts("candidates")), None)
    if first is None:
        return False
    with storage.reading(first.uri) as stream:
        kinds = {field.name: field.type for field in pq.read_schema(stream)}
    # By the values: whoever writes lists anew may write them as large ones.
    return SOURCE in kinds and pa.types.is_integer(getattr(kinds[SOURCE], "value_type", None) or pa.null())


def _means(candidates: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """A row per user with candidates and an outcome: by source the share of outcomes found, and found alone."""
    wanted = outcomes.join(candidates.select(USER), on=USER, how="semi")
    lists = candidates.join(wanted.select(USER).unique(), on=USER, how="semi").select(_COLUMNS)
    pairs = lists.explode(ITEM_INDEX, SOURCE).drop_nulls(ITEM_INDEX)
    hits = wanted.join(pairs, on=[USER, ITEM_INDEX], how="left", maintain_order="left")
    source = pl.col(SOURCE).fill_null(0)
    bits = {name: columns.source_bit(name) for name in columns.SOURCES}
    shares = [((source & bit) > 0).mean().alias(f"{RECALL} {name}") for name, bit in bits.items()]
    shares += [(source == bit).mean().alias(f"{RECALL_ALONE} {name}") for name, bit in bits.items()]
    shares += [(source > 0).mean().alias(f"{kind} {EVERY}") for kind in (RECALL, RECALL_ALONE)]
    # In order, so that the same files give the same sums to the last bit.
    return hits.group_by(USER, maintain_order=True).agg(shares)


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
