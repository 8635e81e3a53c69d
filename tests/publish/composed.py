"""Composed lists as `compose` leaves them, made directly: every item id starts with the run's tag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns
from recjobs.manifest import Check, Inputs, Manifest, Output, cutoffs_of
from recjobs.publish import stage
from recjobs.publish.config import DatabaseConfig
from recjobs.settings import Settings, load_settings
from recjobs.shards import shard_of

SHARDS = 2
SURFACES = ("home", "email")
CONFIG = """
dataset = "planted"
[events]
path = "events"
[events.types.view]
task = "click"
[compose.surfaces.home]
length = 5
[compose.surfaces.email]
length = 5
"""


@dataclass(frozen=True)
class Night:
    """One run's settings and inputs, ready to be published."""

    settings: Settings
    inputs: Inputs
    out: Output

    def publish(self) -> Manifest:
        """Runs the stage."""
        return stage.run(self.inputs, self.settings.view(("publish", "compose", "database")), self.out)


def night(
    folder: Path,
    database: DatabaseConfig,
    *,
    ds: str = "2026-01-05",
    run: str = "r1",
    users: Sequence[str] = tuple(f"u{n}" for n in range(20)),
    length: int = 5,
    refused: bool = False,
    overrides: dict[str, object] | None = None,
) -> Night:
    """Lists of `users` on two surfaces, similar items of 10 items, segments `all` and `country=GB`."""
    day, root = date.fromisoformat(ds), folder / f"{ds}-{run}"
    cutoffs = cutoffs_of(day, train_lag_days=0, history_lag_days=0, label_days=1)
    write_lists(root / "compose", tag=f"{ds}/{run}", users=users, length=length)
    compose = Output("compose", day, run, cutoffs, str(root), attempt="compose").manifest(rows={"users": len(users)})
    check = Check(name="full", passed=not refused, value=0.0, limit=1.0, detail="lists are short")
    evaluate = Output("evaluate", day, f"e-{run}", cutoffs, str(root), attempt="evaluate").manifest(
        rows={}, checks=[check], metrics={"recall@20": 0.25}
    )
    inputs = Inputs(day, cutoffs, {"compose": compose, "evaluate": evaluate})
    settings = settings_for(folder, database, overrides)
    return Night(settings, inputs, Output("publish", day, f"p-{run}", cutoffs, str(root / "publish")))


def settings_for(folder: Path, database: DatabaseConfig, overrides: dict[str, object] | None = None) -> Settings:
    """Settings with two surfaces that publish to `database`."""
    config = folder / "config.toml"
    config.write_text(CONFIG)
    chosen = {"database.schema_name": database.schema_name, **(overrides or {})}
    if database.url is not None:
        chosen.setdefault("database.url", database.url.get_secret_value())
    return load_settings(str(config), chosen)


def write_lists(folder: Path, *, tag: str, users: Sequence[str], length: int) -> None:
    """The files of `compose`, as docs/artefacts.md has them."""
    ids = [f"{tag} i{n}" for n in range(length)]
    scores = np.linspace(1, 0.1, length, dtype=np.float32).tolist()
    shards = shard_of(pa.array(users, pa.string()), SHARDS) if users else np.empty(0, np.int32)
    for surface in SURFACES:
        for shard in range(SHARDS):
            mine = sorted(user for user, of in zip(users, shards, strict=True) if of == shard)
            rows = [
                {
                    columns.USER: user,
                    columns.ITEM: ids,
                    columns.SCORE: scores,
                    columns.REASON: [f"{surface} for you"] * length,
                    columns.REGIME: columns.WARM,
                }
                for user in mine
            ]
            _write(folder / "lists" / surface / columns.part_name(shard), rows, columns.LIST_SCHEMA)
        segments = [
            {
                columns.SEGMENT: segment,
                columns.ITEM: [f"{tag} {segment} i{n}" for n in range(length)],
                columns.SCORE: scores,
                columns.REASON: ["popular"] * length,
            }
            for segment in (columns.GLOBAL_SEGMENT, "country=GB")
        ]
        _write(folder / "segments" / surface / columns.part_name(0), segments, columns.SEGMENT_LIST_SCHEMA)
    items = [
        {
            columns.ITEM: f"i{n}",
            columns.SIMILAR_ITEM: [f"{tag} i{(n + step) % 10}" for step in range(1, 6)],
            columns.SCORE: [1.0, 0.8, 0.6, 0.4, 0.2],
        }
        for n in range(10)
    ]
    _write(folder / "items" / columns.part_name(0), items, columns.ITEM_LIST_SCHEMA)


def _write(path: Path, rows: list[dict[str, object]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
