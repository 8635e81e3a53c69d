"""Small event streams for tests of `extract`: written as a source would deliver them, and read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings

from recjobs import columns as c
from recjobs.extract import stage
from recjobs.manifest import PREVIOUS_EXTRACT, Inputs, Manifest, Output, cutoffs_of
from recjobs.settings import Settings, load_settings
from recjobs.sources.pinning import pin_sources

FIRST = date(2026, 3, 1)
SECTIONS = ("time", "items", "users", "beam", "extract")
CONFIG = """
dataset = "streams"
root = "{folder}"

[time]
label_days = 1
window_days = 10
late_days = 1

[events]
path = "{folder}/events"

[events.types.view]
task = "click"

[events.types.search]
task = "click"
has_item = false

[events.types.buy]
task = "purchase"

[items]
path = "{folder}/items"
categorical = ["colour"]
static = ["title"]

[users]
path = "{folder}/users"
numeric = ["age"]

[beam]
shards = 3

[extract]
history_length = 3
pair_limit = 4
count_windows = [1, 3]
quarantine_limit = 1.0
"""


@dataclass(frozen=True)
class Event:
    """One delivered row; `arrived` counts days from FIRST."""

    user_id: str | None
    item_id: str | None
    event_type: str
    timestamp: datetime
    arrived: int
    event_id: str | None = None
    country: str | None = None
    device: str | None = None

    @property
    def arrival(self) -> date:
        """The day the row was delivered."""
        return FIRST + timedelta(days=self.arrived)


@dataclass
class World:
    """Everything that was delivered, rows of a day in the order of the file."""

    events: Sequence[Event]
    items: Sequence[dict[str, Any]] = field(
        default_factory=lambda: [{"item_id": "a", "title": "Blue Cup", "price": 2.0}]
    )
    users: Sequence[dict[str, Any]] = field(default_factory=lambda: [{"user_id": "ann", "country": "FR"}])


EVENT_TYPES = {
    c.USER: pl.String,
    c.ITEM: pl.String,
    c.EVENT_TYPE: pl.String,
    c.TIMESTAMP: pl.Datetime("us", "UTC"),
    c.EVENT_ID: pl.String,
    c.COUNTRY: pl.String,
    c.DEVICE: pl.String,
}
ITEM_TYPES = {
    "item_id": pl.String,
    "title": pl.String,
    "price": pl.Float64,
    "colour": pl.String,
    "available": pl.Boolean,
}
WORLD_BY_WORLD = hypothesis_settings(
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Of properties that run a stage for each example. Shrinking takes minutes: the failing world is printed as it is."""
USER_TYPES = {"user_id": pl.String, "country": pl.String, "age": pl.Int64}


def moment(day: int, seconds: int = 0) -> datetime:
    """A time `seconds` into the day `day` days after FIRST."""
    return datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(days=day, seconds=seconds)


def deliver(folder: Path, world: World, days: int, form: str = "parquet") -> None:
    """Writes the world's files: a partition for each of `days` days, and snapshots of the first day."""
    for day in range(days):
        rows = [event for event in world.events if event.arrived == day]
        frame = pl.DataFrame([[getattr(row, name) for name in EVENT_TYPES] for row in rows], EVENT_TYPES, orient="row")
        write(frame, folder / "events" / f"date={FIRST + timedelta(days=day)}" / f"rows.{form}", form)
    write(pl.DataFrame(world.items, ITEM_TYPES), folder / "items" / f"{FIRST}.{form}", form)
    write(pl.DataFrame(world.users, USER_TYPES), folder / "users" / f"{FIRST}.{form}", form)


def write(frame: pl.DataFrame, path: Path, form: str = "parquet") -> None:
    """`frame` as a file of the source."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")


def settings(folder: Path, **overrides: Any) -> Settings:
    """The settings of a world; `overrides` as dotted keys with `__` for dots."""
    return settings_from(CONFIG, folder, **overrides)


def settings_from(config: str, folder: Path, **overrides: Any) -> Settings:
    """The settings of a config with `{folder}` in it; `overrides` as dotted keys with `__` for dots."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "world.toml"
    path.write_text(config.format(folder=folder))
    return load_settings(str(path), {key.replace("__", "."): value for key, value in overrides.items()})


def extract(
    folder: Path,
    config: Settings,
    ds: date,
    run: str = "run",
    previous: Manifest | None = None,
    left_out: tuple[str, ...] = (),
) -> Manifest:
    """Runs the stage for `ds`, from the window or going on from `previous`, without the users `left_out` (digests)."""
    cutoffs = cutoffs_of(
        ds,
        train_lag_days=config.time.train_lag_days,
        history_lag_days=config.time.history_lag_days,
        label_days=config.time.label_days,
    )
    out = Output("extract", ds, run, cutoffs, str(folder / "out" / run))
    sources = pin_sources(config, ds).model_copy(update={"forgotten": left_out})
    pinned = {} if previous is None else {PREVIOUS_EXTRACT: previous}
    manifest = stage.run(Inputs(ds, cutoffs, pinned, sources), config.view(SECTIONS), out)
    return manifest.model_copy(update={"sources": sources})


def without_beam(
    config: Any, name: str, work: Sequence[Any], prepare: Callable[[], Callable[[Any], Any]], scratch: str
) -> list[Any]:
    """In place of `run_pass` where Beam itself is not the point: its start costs more than a small stream."""
    del config, name, scratch
    function = prepare()
    return [function(element) for element in work]


def parts(manifest: Manifest, folder: str) -> pl.DataFrame:
    """All parts of a sharded output."""
    return pl.concat([pl.read_parquet(file.uri) for file in manifest.parts(folder)])
