"""A planted night through both retrieval stages, with cold users and cold items in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recjobs import columns
from recjobs.flow import STAGES
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.settings import Settings
from tests.planted import Planted, planted_events, planted_extract, planted_settings

TRAIN, SEARCH = "retrieve/train", "retrieve/search"
PLANTED = Planted(users=150, items=60, groups=3, events_per_user=14)
"""Three groups as there are three countries: a user's country gives the taste away."""
COLD_USERS = range(135, 150)
COLD_ITEMS = range(54, 60)
SMALL: dict[str, Any] = {
    "retrieve__train__embedding_size": 16,
    "retrieve__train__epochs": 12,
    "retrieve__train__blocks": 1,
    "retrieve__train__batch_size": 32,
    "retrieve__train__learning_rate": 0.01,
    "retrieve__train__dropout": 0.1,
    "retrieve__search__candidates": 20,
    "retrieve__search__similar_items": 5,
    **{f"retrieve__search__sources__{name}__quota": 0 for name in ("cooccurrence", "repeat", "segment", "new", "ease")},
}
"""Small towers, and candidates from them alone."""
MIXED = {
    f"retrieve__search__sources__{name}__quota": quota
    for name, quota in {"cooccurrence": 6, "repeat": 4, "segment": 5, "new": 2, "ease": 3}.items()
}
"""All sources on: 40 candidates a user in all."""


@dataclass(frozen=True)
class Night:
    """Manifests of a night's retrieval and what it was made from."""

    settings: Settings
    extract: Manifest
    train: Manifest
    search: Manifest

    def candidates(self) -> dict[str, list[int]]:
        """Each user's candidates by item index."""
        table = pl.concat([pl.read_parquet(part.uri) for part in self.search.parts("candidates")])
        return dict(table.select(columns.USER, columns.ITEM_INDEX).iter_rows())

    def group_of_item(self) -> dict[int, int]:
        """Each item index's planted group."""
        items = pl.read_parquet(self.extract.uri("items.parquet"))
        return {
            index: int(name[1:]) % PLANTED.groups for index, name in items[[columns.ITEM_INDEX, columns.ITEM]].rows()
        }


def warm_events() -> pl.DataFrame:
    """The planted events without those of cold users and on cold items."""
    users = [f"u{number:04d}" for number in COLD_USERS]
    items = [f"i{number:04d}" for number in COLD_ITEMS]
    events = planted_events(PLANTED)
    return events.filter(~pl.col(columns.USER).is_in(users) & ~pl.col(columns.ITEM).is_in(items))


def extract_of(folder: Path) -> Manifest:
    """The planted extract of `warm_events`."""
    return planted_extract(folder, PLANTED, events=warm_events())


def settings_of(folder: Path, **overrides: Any) -> Settings:
    """Small towers on the planted data; `overrides` as dotted keys with `__` for dots."""
    return planted_settings(folder, PLANTED, **(SMALL | overrides))


def train(extract: Manifest, settings: Settings, folder: Path) -> Manifest:
    """`retrieve/train` below `folder`."""
    from recjobs.retrieve.train.stage import run

    out = Output(TRAIN, extract.ds, "r", extract.cutoffs, str(folder))
    return run(Inputs(extract.ds, extract.cutoffs, {"extract": extract}), settings.view(STAGES[TRAIN].sections), out)


def search(extract: Manifest, trained: Manifest, settings: Settings, folder: Path) -> Manifest:
    """`retrieve/search` below `folder`."""
    from recjobs.retrieve.search.stage import run

    out = Output(SEARCH, extract.ds, "r", extract.cutoffs, str(folder))
    inputs = Inputs(extract.ds, extract.cutoffs, {"extract": extract, TRAIN: trained})
    return run(inputs, settings.view(STAGES[SEARCH].sections), out)


def share_of_own_group(candidates: dict[str, list[int]], groups: dict[int, int], users: Any, k: int = 10) -> float:
    """The mean share of the first K candidates that are of the user's planted group."""
    shares = [
        np.mean([groups[item] == number % PLANTED.groups for item in candidates[f"u{number:04d}"][:k]])
        for number in users
    ]
    return float(np.mean(shares))
