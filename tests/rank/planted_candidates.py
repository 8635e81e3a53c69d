"""Planted inputs of the ranking stages: two nights of extract, and candidates in an order that ignores taste."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.settings import Settings
from tests.planted import Planted, planted_events, planted_extract, planted_settings

NIGHT = Planted(users=300, items=40, groups=4, days=8, events_per_user=32, shards=2)
"""Enough outcomes on the last day that chance does not decide."""


@dataclass(frozen=True)
class Night:
    """What `rank/train` and `rank/score` read on one planted night."""

    planted: Planted
    settings: Settings
    earlier: Manifest
    earlier_search: Manifest
    extract: Manifest
    search: Manifest
    folder: Path

    def inputs(self, **more: Manifest) -> Inputs:
        manifests = {
            "extract": self.extract,
            "earlier/extract": self.earlier,
            "earlier/retrieve/search": self.earlier_search,
            "retrieve/search": self.search,
            **{name.replace("__", "/"): made for name, made in more.items()},
        }
        return Inputs(self.extract.ds, self.extract.cutoffs, manifests)

    def out(self, stage: str, name: str = "run") -> Output:
        run_folder = str(self.folder / stage / name)
        return Output(stage, self.extract.ds, name, self.extract.cutoffs, run_folder)


def planted_night(
    folder: Path,
    planted: Planted = NIGHT,
    *,
    events: pl.DataFrame | None = None,
    earlier_shards: int | None = None,
    **overrides: Any,
) -> Night:
    """Two nights, `label_days` apart, of one planted history; candidates in a random order."""
    events = planted_events(planted) if events is None else events
    before = planted.ds - timedelta(days=planted.label_days)
    earlier = replace(planted, ds=before, shards=earlier_shards or planted.shards)
    old = planted_extract(folder / "earlier", earlier, events=events, sequences=False)
    new = planted_extract(folder / "tonight", planted, events=events, sequences=False)
    settings = planted_settings(folder, planted, **{"rank__train__epochs": 4, **overrides})
    return Night(
        planted,
        settings,
        old,
        planted_candidates(old, folder / "earlier", seed=1),
        new,
        planted_candidates(new, folder / "tonight", seed=2),
        folder,
    )


def planted_candidates(extract: Manifest, folder: Path, *, seed: int, each: int = 30) -> Manifest:
    """A `retrieve/search` artefact: `each` random items per user, the score falling with the rank."""
    items = extract.rows["items"]
    each = min(each, items)
    out = Output("retrieve/search", extract.ds, "planted", extract.cutoffs, str(folder / "search"))
    for part in extract.parts("users"):
        users = pq.read_table(part.uri, columns=[columns.USER])[columns.USER].cast(pa.string())
        # Seeded by user, so that a user has the same candidates however users are split into shards.
        randoms = [np.random.default_rng([seed, zlib.crc32(user.encode())]) for user in users.to_pylist()]
        order = [random.permutation(items)[:each] + 1 for random in randoms]
        scores = [np.sort(random.random(each))[::-1] for random in randoms]
        write_candidates(out.uri("candidates", Path(part.uri).name), users, order, scores)
    return out.manifest(rows={"users": extract.rows["users"]})


def write_candidates(uri: str, users: Any, items: Any, scores: Any) -> None:
    """Candidates of `users`, all from the towers."""
    sources = [[columns.source_bit("towers")] * len(row) for row in items]
    off = [pa.nulls(len(items), pa.list_(pa.float32())) for _ in columns.SCORED_SOURCES[1:]]
    Path(uri).parent.mkdir(parents=True, exist_ok=True)
    table = pa.table([users, items, scores, sources, scores, *off], names=columns.CANDIDATE_SCHEMA.names)
    pq.write_table(table.cast(columns.CANDIDATE_SCHEMA), uri)


def group_of(numbers: Any, groups: int) -> Any:
    """The planted group of ids such as `u0012` or `i0003`."""
    return np.array([int(number[1:]) % groups for number in numbers])
