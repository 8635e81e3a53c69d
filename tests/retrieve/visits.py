"""A planted world where what is taken depends on the device of the visit, through the real extract and training.

Items are of one device; a user mostly visits from a device of their own and takes items of whichever one it is,
so that a history alone blurs the two. The last users never visited.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recjobs import columns as c
from recjobs.extract import stage as extract_stage
from recjobs.manifest import Manifest
from recjobs.settings import Settings
from tests.extract.streams import extract, settings_from, without_beam, write

FIRST, DAYS = date(2026, 3, 2), 12
DS = FIRST + timedelta(days=DAYS - 1)
DEVICES = ("phone", "desk")
USERS, COLD_FROM, ITEMS = 84, 80, 24
OWN_SHARE = 0.65
CONFIG = """
dataset = "visits"
root = "{folder}"

[time]
label_days = 1
window_days = 30

[events]
path = "{folder}/events"

[events.types.view]
task = "click"

[users]
path = "{folder}/users"

[beam]
shards = 2

[retrieve.train]
encoder = "mean"
embedding_size = 16
epochs = 10
batch_size = 16
learning_rate = 0.03
dropout = 0.1
context = ["device"]
"""


def own_device(user: int) -> int:
    """The place in `DEVICES` of the one a user mostly visits from."""
    return user % len(DEVICES)


def device_of(item: int) -> int:
    """The place in `DEVICES` of the one an item is taken on."""
    return item % len(DEVICES)


def settings_of(folder: Path, **overrides: Any) -> Settings:
    """The world's settings; `overrides` as dotted keys with `__` for dots."""
    return settings_from(CONFIG, folder, **overrides)


def extracted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """The world's files, and `extract` of them."""
    deliver(folder)
    monkeypatch.setattr(extract_stage, "run_pass", without_beam)
    return extract(folder, settings_of(folder), DS)


def deliver(folder: Path) -> None:
    """Writes events by day, one a user and day, and users."""
    random = np.random.default_rng(7)
    for day in range(DAYS):
        device = np.array([own_device(user) for user in range(COLD_FROM)])
        device = np.where(random.random(COLD_FROM) < OWN_SHARE, device, 1 - device)
        item = random.integers(0, ITEMS // len(DEVICES), COLD_FROM) * len(DEVICES) + device
        start = datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), UTC)
        rows = {
            c.USER: [f"u{user:03d}" for user in range(COLD_FROM)],
            c.ITEM: [f"i{number:03d}" for number in item],
            c.EVENT_TYPE: ["view"] * COLD_FROM,
            c.TIMESTAMP: [start + timedelta(seconds=60 * user) for user in range(COLD_FROM)],
            c.DEVICE: [DEVICES[place] for place in device],
        }
        write(pl.DataFrame(rows), folder / "events" / f"date={FIRST + timedelta(days=day)}" / "rows.parquet")
    write(pl.DataFrame({c.USER: [f"u{user:03d}" for user in range(USERS)]}), folder / "users" / f"{FIRST}.parquet")
