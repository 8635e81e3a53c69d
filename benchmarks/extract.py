"""Extract's events per second against Polars alone making the same histories and counts.

The yardstick reads the same files, trusts every row, holds everything in memory and writes nothing:
per user the last events, the latest (item, event type) pairs and the windowed counts, per item the
counts. Ours also checks and splits rows, writes canonical events, states and vocabulary; the
training sequences' TFRecords are timed apart.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from recjobs import columns as c
from recjobs.extract import stage
from recjobs.manifest import Inputs, Manifest, Output, cutoffs_of
from recjobs.settings import Settings, load_settings
from recjobs.sources.pinning import pin_sources

EVENTS, USERS, ITEMS, DAYS = 3_000_000, 150_000, 20_000, 60
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

[beam]
shards = 8
"""


def write_events(folder: Path, events: int, seed: int = 7) -> None:
    """`events` events of DAYS days as a Parquet file a day: popularity and activity fall off as in a shop."""
    random = np.random.default_rng(seed)
    per_day = events // DAYS
    for day in range(DAYS):
        first = datetime.combine(DS - timedelta(days=DAYS - 1 - day), datetime.min.time(), UTC)
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


def ours(folder: Path, config: Settings) -> Manifest:
    """The stage itself."""
    cutoffs = cutoffs_of(DS, train_lag_days=0, history_lag_days=0, label_days=1)
    out = Output("extract", DS, "bench", cutoffs, str(folder / "out"))
    view = config.view(("time", "items", "users", "beam", "extract"))
    return stage.run(Inputs(DS, cutoffs, {}, pin_sources(config, DS)), view, out)


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


def main(events: int = EVENTS) -> None:
    """Prints one JSON line; both sides are run after a small run of theirs has warmed everything up."""
    with tempfile.TemporaryDirectory() as name:
        for size in (60_000, events):
            folder = Path(name) / str(size)
            folder.mkdir()
            (folder / "bench.toml").write_text(CONFIG.format(folder=folder))
            config = load_settings(str(folder / "bench.toml"))
            write_events(folder, size)
            started = time.perf_counter()
            yardstick(folder, config)
            plain = time.perf_counter() - started
            started = time.perf_counter()
            manifest = ours(folder, config)
            seconds = time.perf_counter() - started - manifest.timings["sequences"]
    figures = {
        "name": "extract",
        "ours": round(events / seconds),
        "yardstick": round(events / plain),
        "ratio": round(plain / seconds, 3),
        "unit": "events/s",
        "sequences_seconds": manifest.timings["sequences"],
        "timings": manifest.timings,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
