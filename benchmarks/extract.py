"""Extract's events per second against Polars alone making the same histories and counts.

The yardstick reads the same files, trusts every row, holds everything in memory and writes nothing:
per user the last events, the latest (item, event type) pairs and the windowed counts, per item the
counts. Ours also checks and splits rows, writes canonical events, states and vocabulary; the
training sequences' TFRecords are timed apart.

Then a night that goes on from the one before, beside a rebuild of the same night, at two lengths of
history with equally many events a day: `python benchmarks/extract.py [EVENTS [EVENTS_A_DAY]]`.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recjobs import columns as c
from recjobs.extract import stage
from recjobs.manifest import PREVIOUS_EXTRACT, Inputs, Manifest, Output, cutoffs_of
from recjobs.settings import Settings, load_settings
from recjobs.sources.pinning import pin_sources

EVENTS, USERS, ITEMS, DAYS = 3_000_000, 150_000, 20_000, 60
LENGTHS = (30, 90)
"""Days of history of the two nights that are compared."""
DS = date(2026, 3, 31)
TYPES = ("view", "cart", "purchase")
CONFIG = """
dataset = "bench"
root = "{folder}"

[events]
path = "{folder}/events"

[events.types.view]
task = "click"

[events.types.cart]
task = "cart"

[events.types.purchase]
task = "purchase"

[time]
window_days = {window}

[beam]
shards = 8
"""


def write_events(folder: Path, per_day: int, days: int, seed: int = 7) -> None:
    """`per_day` events on each of `days` days, a Parquet file a day: popularity and activity fall off as in a shop."""
    random = np.random.default_rng(seed)
    for day in range(days):
        first = datetime.combine(DS - timedelta(days=days - 1 - day), datetime.min.time(), UTC)
        user = (USERS * random.random(per_day) ** 2).astype(np.int64)
        item = (ITEMS * random.random(per_day) ** 3).astype(np.int64)
        frame = pl.DataFrame(
            {
                c.USER: pl.Series(user).cast(pl.String).str.zfill(7),
                c.ITEM: pl.Series(item).cast(pl.String).str.zfill(6),
                c.EVENT_TYPE: random.choice(TYPES, per_day, p=(0.8, 0.13, 0.07)),
                c.TIMESTAMP: int(first.timestamp() * 1e6) + np.sort(random.integers(0, 86_400_000_000, per_day)),
                c.EVENT_ID: pl.Series(np.arange(per_day) + day * per_day).cast(pl.String),
                c.COUNTRY: random.choice(("GB", "FR", "DE", "US"), per_day),
            }
        ).with_columns(pl.col(c.TIMESTAMP).cast(pl.Datetime("us", "UTC")))
        path = folder / "events" / f"date={first.date()}" / "events.parquet"
        path.parent.mkdir(parents=True)
        frame.write_parquet(path)


def opened(folder: Path, per_day: int, days: int, window: int = 365) -> Settings:
    """The settings of a folder that is filled with events."""
    folder.mkdir()
    write_events(folder, per_day, days)
    (folder / "bench.toml").write_text(CONFIG.format(folder=folder, window=window))
    return load_settings(str(folder / "bench.toml"))


def ours(folder: Path, config: Settings, ds: date = DS, previous: Manifest | None = None) -> Manifest:
    """The stage itself, for `ds`, from the window or going on from `previous`."""
    cutoffs = cutoffs_of(ds, train_lag_days=0, history_lag_days=0, label_days=1)
    run = f"{ds}{'-on' if previous else ''}"
    out = Output("extract", ds, run, cutoffs, str(folder / "out" / run))
    view = config.view(("time", "items", "users", "beam", "extract"))
    sources = pin_sources(config, ds)
    manifests = {PREVIOUS_EXTRACT: previous} if previous else {}
    return stage.run(Inputs(ds, cutoffs, manifests, sources), view, out).model_copy(update={"sources": sources})


def yardstick(folder: Path, config: Settings) -> tuple[pl.DataFrame, ...]:
    """The same histories, pairs and counts in Polars, all in memory."""
    files = sorted((folder / "events").glob("*/*.parquet"))
    events = pl.read_parquet(files, columns=[c.USER, c.ITEM, c.EVENT_TYPE, c.TIMESTAMP, c.EVENT_ID])
    events = events.unique([c.USER, c.EVENT_ID], keep="first", maintain_order=True).drop(c.EVENT_ID)
    code = pl.col(c.EVENT_TYPE).replace_strict(config.event_codes(), return_dtype=pl.Int8)
    events = events.with_columns(code, pl.col(c.TIMESTAMP).dt.epoch("s")).sort(
        c.USER, c.TIMESTAMP, c.EVENT_TYPE, c.ITEM
    )
    end = int(datetime.combine(DS + timedelta(days=1), datetime.min.time(), UTC).timestamp())
    counts = [
        ((pl.col(c.EVENT_TYPE) == code) & (pl.col(c.TIMESTAMP) >= end - days * 86_400)).sum().alias(f"{name}_{days}")
        for name, code in config.event_codes().items()
        for days in config.extract.count_windows
    ]
    items = events.group_by(c.ITEM).agg(pl.len(), pl.col(c.USER).n_unique().alias(c.N_USERS), *counts)
    index = items.sort("len", c.ITEM, descending=[True, False]).with_row_index(c.ITEM_INDEX, 1)
    coded = events.join(index.select(c.ITEM, c.ITEM_INDEX), on=c.ITEM, how="left", maintain_order="left")
    length = config.extract.history_length
    users = coded.group_by(c.USER, maintain_order=True).agg(
        pl.col(c.ITEM_INDEX, c.EVENT_TYPE, c.TIMESTAMP).tail(length), pl.len(), *counts
    )
    pairs = (
        coded.group_by(c.USER, c.ITEM_INDEX, c.EVENT_TYPE)
        .agg(pl.len(), pl.col(c.TIMESTAMP).max())
        .sort(c.USER, c.TIMESTAMP, c.ITEM_INDEX, descending=[False, True, False])
        .group_by(c.USER, maintain_order=True)
        .agg(pl.all().head(config.extract.pair_limit))
    )
    return items, users, pairs


def timed(run: Callable[[], Manifest]) -> tuple[float, Manifest]:
    """Seconds of a run of the stage without its TFRecords, and its manifest."""
    started = time.perf_counter()
    manifest = run()
    return time.perf_counter() - started - manifest.timings["sequences"], manifest


def whole(folder: Path, events: int) -> dict[str, Any]:
    """The rebuild against the yardstick; both are run after a small run of theirs has warmed everything up."""
    for size in (60_000, events):
        place = folder / str(size)
        config = opened(place, size // DAYS, DAYS)
        started = time.perf_counter()
        yardstick(place, config)
        plain = time.perf_counter() - started
        seconds, manifest = timed(lambda place=place, config=config: ours(place, config))  # type: ignore[misc]
        shutil.rmtree(place)
    return {
        "ours": round(events / seconds),
        "yardstick": round(events / plain),
        "ratio": round(plain / seconds, 3),
        "unit": "events/s",
        "sequences_seconds": manifest.timings["sequences"],
        "timings": manifest.timings,
    }


def nights(folder: Path, per_day: int) -> list[dict[str, Any]]:
    """For each length of history: seconds of the last night going on from the one before, and of its rebuild.

    The window is one day shorter than what was delivered, so that a day leaves it too. Of each three runs the middle.
    """
    found = []
    for days in LENGTHS:
        place = folder / f"{days}-days"
        config = opened(place, per_day, days + 1, window=days)
        before = ours(place, config, DS - timedelta(days=1))
        runs = [
            (timed(lambda p=place, c=config, b=before: ours(p, c, DS, b)), timed(lambda p=place, c=config: ours(p, c)))  # type: ignore[misc]
            for _ in range(3)
        ]
        went_on, rebuilt = (sorted((run[side] for run in runs), key=lambda one: one[0])[1] for side in (0, 1))
        found.append(
            {
                "days": days,
                "events": rebuilt[1].rows["events"],
                "night_seconds": round(went_on[0], 2),
                "rebuild_seconds": round(rebuilt[0], 2),
                "sequences_seconds": went_on[1].timings["sequences"],
                "timings": went_on[1].timings,
            }
        )
        shutil.rmtree(place)
    return found


def main(events: int = EVENTS, per_day: int = 0) -> None:
    """Prints one JSON line."""
    with tempfile.TemporaryDirectory() as name:
        figures = {"name": "extract", "events": events, **whole(Path(name), events)}
        figures["nights"] = nights(Path(name), per_day or events // DAYS)
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
