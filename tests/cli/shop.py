"""A small shop on disk: events of a few days, and the command line run on it in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from recjobs.publish.config import DatabaseConfig

NEWEST = date(2026, 1, 10)
CONFIG = """
dataset = "planted"
root = "{folder}/artefacts"
[time]
label_days = 1
[events]
path = "{folder}/events"
[events.types.view]
task = "click"
[beam]
shards = 2
[database]
url = "{url}"
"""


@dataclass(frozen=True)
class Shop:
    """Where it is."""

    folder: Path

    @property
    def config(self) -> Path:
        """Its config file."""
        return self.folder / "shop.toml"

    def events(self, day: date) -> Path:
        """The file with the events of `day`."""
        return self.folder / "events" / f"date={day}" / "part-0.parquet"

    def recjobs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `recjobs … -c shop.toml`, its screen wide enough not to break lines."""
        command = [sys.executable, "-m", "recjobs", *arguments, "-c", str(self.config)]
        environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "500", "HOME": str(self.folder)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)


def open_shop(folder: Path, database: DatabaseConfig, *, days: int = 6, users: int = 20, items: int = 12) -> Shop:
    """A shop with events on `days` days up to NEWEST."""
    shop = Shop(folder)
    url = database.url.get_secret_value() if database.url else ""
    shop.config.write_text(CONFIG.format(folder=folder, url=url))
    random = np.random.default_rng(1)
    for offset in range(days):
        write_day(shop, NEWEST - timedelta(days=offset), random, users, items)
    return shop


def write_day(shop: Shop, day: date, random: np.random.Generator, users: int, items: int) -> None:
    """A view of a random item by every user."""
    path = shop.events(day)
    path.parent.mkdir(parents=True)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(users)],
            "item_id": [f"i{number}" for number in random.integers(0, items, users)],
            "event_type": ["view"] * users,
            "timestamp": [noon + timedelta(minutes=number) for number in range(users)],
        }
    ).write_parquet(path)
