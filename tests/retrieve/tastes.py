"""A planted world whose tastes are told by one column each, through the real extract and training.

Users and items have one of three groups, and a user takes items of the own group. A user tells the
group by one way of `TOLD` alone, an item by one of `SHOWN`; at the weekend everybody takes items
of one half of each group, on other days of the other half. Users of the way `hide` take from every
group but the one of the item they hid first. The last users and items have no event; the last
hiders have hidden, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recjobs import columns as c
from recjobs.extract import stage as extract_stage
from recjobs.manifest import Manifest
from recjobs.retrieve.search.towers import Tower, Vectors, item_vectors, tower_facts, user_vectors
from recjobs.retrieve.user_features import list_time
from recjobs.settings import Settings
from tests.extract.streams import extract, settings_from, without_beam, write
from tests.retrieve.nights import train

FIRST, DAYS = date(2026, 3, 2), 21
"""From a Monday to a Sunday."""
DS = FIRST + timedelta(days=DAYS - 1)
GROUPS = 3
TOLD = ("interests", "bio", "hobby", "age", "hide", "face")
SHOWN = ("description", "care", "image")
USERS, COLD_FROM = 288, 234
ITEMS, WARM_ITEMS = 72, 54
WORDS = ("copper", "walnut", "velvet")
CONFIG = """
dataset = "tastes"
root = "{folder}"

[time]
label_days = 1
window_days = 30

[events]
path = "{folder}/events"

[events.types.view]
task = "click"

[events.types.hide]
task = "click"
weight = -1.0

[items]
path = "{folder}/items"
text = ["care"]
vectors = ["image"]

[users]
path = "{folder}/users"
text = ["bio"]
categorical = ["hobby"]
numeric = ["age"]
vectors = ["face"]

[beam]
shards = 2

[retrieve.train]
embedding_size = 16
blocks = 1
epochs = 12
batch_size = 32
learning_rate = 0.02
dropout = 0.1
context = ["weekday", "hour"]
"""


def group(number: int) -> int:
    """The group of a user or an item."""
    return number % GROUPS


def told_by(user: int) -> str:
    """The one way a user tells the group."""
    return TOLD[user // GROUPS % len(TOLD)]


def shown_by(item: int) -> str:
    """The one column that shows an item's group."""
    return SHOWN[item // GROUPS % len(SHOWN)]


def of_weekend(item: int) -> bool:
    """Whether an item is taken at the weekend, else on the other days."""
    return item // (GROUPS * len(SHOWN)) % 2 == 1


def settings_of(folder: Path, **overrides: Any) -> Settings:
    """The world's settings; `overrides` as dotted keys with `__` for dots."""
    return settings_from(CONFIG, folder, **overrides)


def extracted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """The world's files, and `extract` of them."""
    deliver(folder)
    monkeypatch.setattr(extract_stage, "run_pass", without_beam)
    return extract(folder, settings_of(folder), DS)


def deliver(folder: Path) -> None:
    """Writes events by day, items and users."""
    random = np.random.default_rng(5)
    rows = [row for user in range(USERS) for row in _events(user, random)]
    events = pl.DataFrame(rows, [c.USER, c.ITEM, c.EVENT_TYPE, c.TIMESTAMP], orient="row").with_columns(
        pl.col(c.TIMESTAMP).dt.convert_time_zone("UTC")
    )
    for day in range(DAYS):
        on = FIRST + timedelta(days=day)
        write(events.filter(pl.col(c.TIMESTAMP).dt.date() == on), folder / "events" / f"date={on}" / "rows.parquet")
    write(pl.DataFrame([_item(number, random) for number in range(ITEMS)]), folder / "items" / f"{DS}.parquet")
    write(pl.DataFrame([_user(number) for number in range(USERS)]), folder / "users" / f"{DS}.parquet")


def _events(user: int, random: np.random.Generator) -> list[tuple[str, str, str, datetime]]:
    hides = told_by(user) == "hide"
    days = np.sort(random.choice(np.arange(1, DAYS), 10, replace=False))
    hidden = [(_name("u", user), _name("i", _draw(group(user), 0, random)), "hide", _moment(0, random))]
    if user >= COLD_FROM:
        return hidden if hides else []
    taken = []
    for day in days:
        wanted = (group(user) + random.integers(1, GROUPS)) % GROUPS if hides else group(user)
        taken.append((_name("u", user), _name("i", _draw(wanted, int(day), random)), "view", _moment(int(day), random)))
    return (hidden if hides else []) + taken


def _draw(wanted: int, day: int, random: np.random.Generator) -> int:
    chosen = [item for item in range(WARM_ITEMS) if group(item) == wanted and of_weekend(item) == (day % 7 >= 5)]
    return int(random.choice(chosen))


def _moment(day: int, random: np.random.Generator) -> datetime:
    start = datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), UTC)
    return start + timedelta(seconds=int(random.integers(0, 86_400)))


def _name(kind: str, number: int) -> str:
    return f"{kind}{number:03d}"


def _item(number: int, random: np.random.Generator) -> dict[str, Any]:
    told = WORDS[group(number)]
    direction = np.eye(4)[group(number)] + random.normal(0, 0.1, 4)
    by = shown_by(number)
    return {
        c.ITEM: _name("i", number),
        c.TITLE: "thing",
        c.DESCRIPTION: f"made of {told}" if by == "description" else None,
        "care": f"clean as {told}" if by == "care" else None,
        "image": direction.astype(np.float32).tolist() if by == "image" else None,
    }


def _user(number: int) -> dict[str, Any]:
    by, of = told_by(number), group(number)
    word = ("cooking", "carpentry", "sewing")[of]
    return {
        c.USER: _name("u", number),
        c.INTERESTS: f"{word} and sleep" if by == "interests" else None,
        "bio": f"I like {word}" if by == "bio" else None,
        "hobby": word if by == "hobby" else None,
        "age": 20.0 + 20.0 * of if by == "age" else None,
        "face": (5.0 * np.eye(4)[of] + np.cos(np.arange(4) + number)).tolist() if by == "face" else None,
    }


@dataclass(frozen=True)
class Trained:
    """Trained towers of the world, and what they say."""

    extract: Manifest
    manifest: Manifest

    @cached_property
    def users(self) -> pl.DataFrame:
        """The user states, by user."""
        return pl.concat([pl.read_parquet(part.uri) for part in self.extract.parts("users")]).sort(c.USER)

    @cached_property
    def user_tower(self) -> Tower:
        """The saved user tower."""
        return Tower(Path(self.manifest.uri("user_tower")))

    @cached_property
    def everybody(self) -> Vectors:
        """`user_vectors()`."""
        return self.user_vectors()

    @cached_property
    def catalogue(self) -> Vectors:
        """`item_vectors()`."""
        return self.item_vectors()

    def item_vectors(self, unseen: bool = False) -> Vectors:
        """By the item's number."""
        items = pl.read_parquet(self.extract.uri("items.parquet"), columns=[c.ITEM])[c.ITEM]
        vectors = item_vectors(Tower(Path(self.manifest.uri("item_tower"))), ITEMS, unseen=unseen)
        return vectors[items.arg_sort().to_numpy()]

    def user_vectors(self, day: date = DS, **how: bool) -> Vectors:
        """By the user's number, for the day after `day`."""
        facts = tower_facts(self.manifest.uri("towers.json"))
        return user_vectors(self.user_tower, self.users, facts, list_time(day), **how)


def trained(extract: Manifest, folder: Path, **overrides: Any) -> Trained:
    """The towers of the world."""
    folder.mkdir()
    return Trained(extract, train(extract, settings_of(folder, **overrides), folder / "train"))


def share_of_group(users: Vectors, items: Vectors, chosen: list[int]) -> float:
    """Of the best 9 items with an event of each of the chosen users, the mean share that is of the own group."""
    best = np.argsort(-(users[chosen] @ items[:WARM_ITEMS].T), axis=1)[:, :9]
    return float((best % GROUPS == np.array(chosen)[:, None] % GROUPS).mean())
