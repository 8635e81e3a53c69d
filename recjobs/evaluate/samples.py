"""A few users with what they did and what they are shown, for the report's reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from recjobs import columns
from recjobs.columns import COLD, ITEM, REASON, REGIME, SCORE, USER
from recjobs.evaluate.gate import read_lists
from recjobs.evaluate.items import Items
from recjobs.evaluate.judging import read_columns
from recjobs.manifest import Manifest

HISTORY_SHOWN = 12
LIST_SHOWN = 12

_STATE = [USER, columns.N_EVENTS, columns.HISTORY_ITEM, columns.HISTORY_TYPE, columns.HISTORY_TIME]


@dataclass(frozen=True)
class Done:
    """Something a user did."""

    day: str
    event: str
    title: str


@dataclass(frozen=True)
class Shown:
    """A place on a user's list."""

    title: str
    score: str
    """As it is written, `none` where it is missing: the report must also show lists that are refused."""
    reason: str


@dataclass(frozen=True)
class Sample:
    """One user: the latest events first, the list's first places."""

    user: str
    regime: str
    events: int
    history: list[Done]
    shown: list[Shown]


def sample_users(
    extract: Manifest, lists: Manifest, surface: str, items: Items, codes: Mapping[str, int], users: int, seed: int
) -> list[Sample]:
    """Up to `users` users of the first shard that has any, a third of them cold where there are so many.

    Drawn by `seed`: warm ones from every part of the range from those who did least to those who did most, so that a
    page of them looks like the shop. Cold ones first, then by number of events, ties by id.
    """
    names = {code: name for name, code in codes.items()}
    for part in extract.parts("users"):
        states = read_columns(part.uri, _STATE)
        if part.name not in {listed.name for listed in lists.parts("lists", surface)} or states.is_empty():
            continue
        shown = read_lists(lists.uri("lists", surface, part.name)).with_columns(pl.col(USER).cast(pl.String))
        both = states.with_columns(pl.col(USER).cast(pl.String)).join(shown, on=USER)
        return [_sample(row, items, names) for row in _chosen(both, users, seed).iter_rows(named=True)]
    return []


def _chosen(people: pl.DataFrame, users: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    ordered = people.sort(columns.N_EVENTS, USER)
    is_cold = pl.col(REGIME) == COLD
    cold, warm = ordered.filter(is_cold.fill_null(False)), ordered.filter(~is_cold.fill_null(False))
    few = min(cold.height, max(-(-users // 3), users - warm.height))
    return pl.concat([_spread(cold, few, random), _spread(warm, users - few, random)])


def _spread(people: pl.DataFrame, users: int, random: np.random.Generator) -> pl.DataFrame:
    """One of each of `users` equally long stretches of `people`, or all where they are fewer."""
    if people.height <= users:
        return people
    edges = np.linspace(0, people.height, users + 1).astype(np.int64)
    return people[random.integers(edges[:-1], edges[1:])] if users else people.clear()


def _sample(row: Mapping[str, object], items: Items, names: Mapping[int, str]) -> Sample:
    past = zip(*(reversed(_list(row[column])[-HISTORY_SHOWN:]) for column in _STATE[2:]), strict=True)
    history = [
        Done(datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d"), names.get(kind, "?"), items.title[item])
        for item, kind, second in past
    ]
    listed = pl.Series(_list(row[ITEM])[:LIST_SHOWN], dtype=pl.String)
    titles = items.title.gather(items.indexes(listed)).fill_null("an unknown item")
    places = zip(titles, _list(row[SCORE]), _list(row[REASON]), strict=False)
    return Sample(
        str(row[USER]),
        str(row[REGIME]),
        int(str(row[columns.N_EVENTS])),
        history,
        [Shown(title, "none" if score is None else f"{score:.3f}", reason) for title, score, reason in places],
    )


def _list(value: object) -> list:  # type: ignore[type-arg]
    return list(value) if isinstance(value, list) else []
