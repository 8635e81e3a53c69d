"""What is true of the marketplace on every day: the appeal of categories, and how tastes go with origin and style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from recjobs import columns as c
from recjobs.sources.marketplace import draws
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.draws import Floats, Keys
from recjobs.sources.marketplace.words import (
    AGE_BANDS,
    CATEGORIES,
    COUNTRIES,
    DEPARTMENTS,
    STYLE_ADJECTIVES,
)

ORIGIN = date(2000, 1, 1)
"""Day 0. Nothing starts here: it only names days by number."""

MICROS_PER_DAY = 86_400_000_000

PRICE_LEVELS = np.array([-1.2, -0.6, 0.0, 0.6, 1.2])
"""What users like to pay, in standard deviations of the log price within a category."""

STYLES = len(STYLE_ADJECTIVES)
SEGMENTS = STYLES * len(PRICE_LEVELS)
"""Combinations of style and price level: within a category, users of one segment choose alike."""

DEPARTMENT_OF = np.array([DEPARTMENTS.index(category.path.split("/")[0]) for category in CATEGORIES])
CONSUMABLE = np.array([category.consumable for category in CATEGORIES])
CATEGORY_ZIPF = 0.5
COUNTRY_TILT, AGE_TILT, STYLE_NOISE = 0.7, 0.4, 0.4


@dataclass(frozen=True)
class World:
    """Log weights: C categories, S styles."""

    appeal: Floats
    """[C]: how much a category is liked by all."""
    country_tilt: Floats
    """[countries, C]."""
    age_tilt: Floats
    """[age bands, C]."""
    style_match: Floats
    """[S, S]: how a user of one style takes to items of another."""


@lru_cache(maxsize=8)
def world_of(config: MarketplaceConfig) -> World:
    """The world of `config`'s seed."""
    seed, categories = config.seed, np.arange(len(CATEGORIES))
    ranks = np.argsort(np.argsort(draws.uniform(seed, "category rank", categories)))
    countries, ages = np.arange(len(COUNTRIES))[:, None], np.arange(len(AGE_BANDS))[:, None]
    styles = np.arange(STYLES)
    noise = draws.normal(seed, "style match", styles[:, None], styles)
    return World(
        appeal=-CATEGORY_ZIPF * np.log1p(ranks),
        country_tilt=COUNTRY_TILT * draws.normal(seed, "country tilt", countries, categories),
        age_tilt=AGE_TILT * draws.normal(seed, "age tilt", ages, categories),
        style_match=config.style_strength * np.eye(STYLES) + STYLE_NOISE * noise,
    )


def day_number(day: date) -> int:
    """`day` as a number of days since `ORIGIN`."""
    return (day - ORIGIN).days


def day_date(number: int) -> date:
    """The date of day `number`."""
    return ORIGIN + timedelta(days=number)


def alive(seed: int, kind: str, size: int, life_days: int, day: int) -> tuple[Keys, Keys]:
    """The keys of the users or items that are there on `day`, ascending, and the day each was born.

    Births are even: key k is born at k · life / size. Lives last between half and one and a half
    times `life_days`, evenly, so `size` are there at any time, on average.
    """
    rate = size / life_days
    first, last = int(np.floor((day - 1.5 * life_days) * rate)), int(np.ceil((day + 1) * rate))
    keys = np.arange(first, last, dtype=np.int64)
    born = keys / rate
    life = life_days * (0.5 + draws.uniform(seed, f"{kind} life", keys))
    there = (born < day + 1) & (born + life > day)
    return keys[there], np.floor(born[there]).astype(np.int64)


def rows_of(keys: Keys, wanted: Keys) -> npt.NDArray[np.int64]:
    """Where each of `wanted` stands in the ascending `keys`; -1 where it doesn't."""
    rows = np.searchsorted(keys, wanted)
    found = keys[np.minimum(rows, len(keys) - 1)] == wanted
    return np.where(found, rows, -1)


def identifiers(prefix: str, keys: Keys) -> pa.Array:
    """The ids of `keys`: the prefix, then the number."""
    return pl.select(pl.lit(prefix) + pl.Series(keys).cast(pl.String)).to_series().to_arrow().cast(pa.string())


def keys_of(prefix: str, ids: Sequence[str]) -> Keys:
    """The keys of `ids`; -1 for one that is no id of ours."""
    digits = pl.Series(ids, dtype=pl.String).str.extract(f"^{prefix}([0-9]+)$", 1).cast(pl.Int64, strict=False)
    return digits.fill_null(-1).to_numpy()


def midnights(days: Keys) -> pa.Array:
    """The timestamps at which the numbered `days` begin."""
    unix_days = np.asarray(days, np.int64) + (ORIGIN - date(1970, 1, 1)).days
    return pa.array(unix_days * MICROS_PER_DAY).cast(c.TIME_TYPE)
