"""The night's content ideas, as the report tells them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from recjobs import storage
from recjobs.columns import GLOBAL_SEGMENT, SEGMENT
from recjobs.manifest import Manifest

IDEAS_FILE = "ideas.parquet"
SEGMENTS_SHOWN, OF_ALL, OF_A_SEGMENT = 8, 8, 2


@dataclass(frozen=True)
class Idea:
    """One kind of item that somebody wants more of; shares in per cent."""

    who: str
    words: str
    demand: float
    supply: float
    ratio: float
    items: int
    examples: str


def best_ideas(compose: Manifest) -> list[Idea]:
    """What everybody lacks most, then what the largest segments do; none where lists are of an earlier version."""
    uri = compose.uri(IDEAS_FILE)
    if not storage.exists(uri):
        return []
    with storage.reading(uri) as stream:
        table = pl.read_parquet(stream)
    people = table.group_by(SEGMENT).agg(pl.col("users").sum()).sort(["users", SEGMENT], descending=[True, False])
    largest = people.filter(pl.col(SEGMENT) != GLOBAL_SEGMENT).head(SEGMENTS_SHOWN)
    wanted = lacking(table)
    everybody = wanted.filter(pl.col(SEGMENT) == GLOBAL_SEGMENT).head(OF_ALL)
    own = wanted.join(largest, on=SEGMENT, how="semi", maintain_order="left")
    own = own.group_by(SEGMENT, maintain_order=True).head(OF_A_SEGMENT)
    return [_idea(row) for row in pl.concat([everybody, own]).iter_rows(named=True)]


def lacking(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of `ideas.parquet` that ask for more than there is, in their order.

    Kinds of items that nobody has described tell nobody anything, and are left out unless there are no others.
    """
    words = pl.col("words").list.len()
    return table.filter((pl.col("ratio") > 1) & ((words > 0) | (words.max() == 0)))


def _idea(row: dict[str, object]) -> Idea:
    words, titles = row["words"], row["example_titles"]
    assert isinstance(words, list)
    assert isinstance(titles, list)
    return Idea(
        who="everybody" if row[SEGMENT] == GLOBAL_SEGMENT else str(row[SEGMENT]),
        words=", ".join(words) or f"cluster {row['cluster']}",
        demand=100 * float(str(row["demand_share"])),
        supply=100 * float(str(row["supply_share"])),
        ratio=float(str(row["ratio"])),
        items=int(str(row["items"])),
        examples="; ".join(titles),
    )
