"""The users of one day: where they come from and what they like."""

from __future__ import annotations

from dataclasses import dataclass, fields
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
    AGE_WEIGHTS,
    CATEGORIES,
    COUNTRIES,
    COUNTRY_WEIGHTS,
    DEPARTMENTS,
    DEVICE_WEIGHTS,
    LANGUAGES,
)
from recjobs.sources.marketplace.world import (
    DEPARTMENT_OF,
    PRICE_LEVELS,
    STYLES,
    alive,
    identifiers,
    midnights,
    world_of,
)

Integers = npt.NDArray[np.int64]

USER_PREFIX = "u"
FIRST_LANGUAGE, MAIN_STYLE, INTERESTS_TOLD = 0.9, 0.6, 0.6
ACTIVITY_SPREAD, BUSIEST = 0.9, 0.95
BLOCK = 4096
EVENTS_PER_VIEW = 1.25
"""Views, carts and purchases for each view, about."""

USERS_SCHEMA = pa.schema(
    [
        (c.USER, pa.string()),
        (c.COUNTRY, pa.string()),
        (c.LANGUAGE, pa.string()),
        (c.AGE_BAND, pa.string()),
        (c.INTERESTS, pa.string()),
        (c.SIGNUP_AT, c.TIME_TYPE),
    ]
)


@dataclass(frozen=True)
class Population:
    """Some users by key, a row each; C categories, D departments."""

    seed: int
    keys: Keys
    born: Keys
    country: Integers
    language: Integers
    age: Integers
    device: Integers
    price_level: Integers
    style: Integers
    """[N, D]: the style a user likes in each department."""
    taste: Floats
    """[N, C]: lasting log weights of the categories."""
    activity: Floats
    """Chance of a visit on an average day."""

    def __len__(self) -> int:
        return len(self.keys)

    def ids(self) -> pa.Array:
        """The user ids, in the order of the rows."""
        return identifiers(USER_PREFIX, self.keys)

    def snapshot(self) -> pa.Table:
        """The user snapshot, by key. Some users tell their two dearest departments as interests."""
        told = draws.uniform(self.seed, "user tells", self.keys) < INTERESTS_TOLD
        columns = [
            self.ids(),
            pa.array(COUNTRIES).take(pa.array(self.country)),
            pa.array(LANGUAGES).take(pa.array(self.language)),
            pa.array(AGE_BANDS).take(pa.array(self.age)),
            _interests(self.taste, told),
            midnights(self.born),
        ]
        return pa.table(columns, schema=USERS_SCHEMA)


def _interests(taste: Floats, told: npt.NDArray[np.bool_]) -> pa.Array:
    weights = np.exp(taste - taste.max(axis=1, keepdims=True))
    by_department = np.stack([weights[:, number == DEPARTMENT_OF].sum(axis=1) for number in range(len(DEPARTMENTS))], 1)
    best = np.argsort(-by_department, axis=1, kind="stable")[:, :2]
    names = pl.Series(DEPARTMENTS)
    text = pl.select(pl.format("{} {}", names[best[:, 0]], names[best[:, 1]])).to_series()
    return pl.select(pl.when(pl.Series(told)).then(text)).to_series().to_arrow().cast(pa.string())


@lru_cache(maxsize=16)
def present(config: MarketplaceConfig, day: int) -> tuple[Keys, Keys]:
    """The keys of the users of `day`, ascending, and the day each signed up."""
    return alive(config.seed, "user", config.users, config.user_life_days, day)


@lru_cache(maxsize=4)
def population_of(config: MarketplaceConfig, day: int) -> Population:
    """The users who have signed up until day `day` and not left."""
    keys, born = present(config, day)
    blocks = [_block(config, number) for number in range(keys[0] // BLOCK, keys[-1] // BLOCK + 1)]
    rows = keys - blocks[0].keys[0]
    joined = {
        field.name: np.concatenate([getattr(block, field.name) for block in blocks])[rows]
        for field in fields(Population)
        if field.name not in ("seed", "born")
    }
    return Population(seed=config.seed, born=born, **joined)


@lru_cache(maxsize=512)
def _block(config: MarketplaceConfig, number: int) -> Population:
    """The users with keys from `number * BLOCK`, whenever they live: what is true of them on every day."""
    keys = np.arange(number * BLOCK, (number + 1) * BLOCK)
    return _population(config, keys, np.zeros_like(keys))


def _population(config: MarketplaceConfig, keys: Keys, born: Keys) -> Population:
    seed = config.seed
    country = draws.choice(seed, "user country", COUNTRY_WEIGHTS, keys)
    age = draws.choice(seed, "user age", AGE_WEIGHTS, keys)
    elsewhere = draws.integer(seed, "user other language", len(LANGUAGES), keys)
    at_home = draws.uniform(seed, "user language", keys) < FIRST_LANGUAGE
    return Population(
        seed=seed,
        keys=keys,
        born=born,
        country=country,
        language=np.where(at_home, country, elsewhere),
        age=age,
        device=draws.choice(seed, "user device", DEVICE_WEIGHTS, keys),
        price_level=draws.integer(seed, "user price level", len(PRICE_LEVELS), keys),
        style=_styles(seed, keys),
        taste=_taste(config, keys, country, age),
        activity=_activity(config, keys),
    )


def _styles(seed: int, keys: Keys) -> Integers:
    departments = np.arange(len(DEPARTMENTS))
    main = draws.integer(seed, "user style", STYLES, keys)[:, None]
    other = draws.integer(seed, "user other style", STYLES, keys[:, None], departments)
    keeps = draws.uniform(seed, "user keeps style", keys[:, None], departments) < MAIN_STYLE
    return np.where(keeps, main, other)


def _taste(config: MarketplaceConfig, keys: Keys, country: Integers, age: Integers) -> Floats:
    world = world_of(config)
    own = draws.normal(config.seed, "user taste", keys[:, None], np.arange(len(CATEGORIES)))
    return world.appeal + world.country_tilt[country] + world.age_tilt[age] + config.taste_strength * own


def _activity(config: MarketplaceConfig, keys: Keys) -> Floats:
    mean = config.events_per_user_day / (config.views_per_visit * EVENTS_PER_VIEW)
    own = np.exp(ACTIVITY_SPREAD * draws.normal(config.seed, "user activity", keys) - ACTIVITY_SPREAD**2 / 2)
    return np.minimum(mean * own, BUSIEST)
