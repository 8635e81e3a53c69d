"""The items on sale on one day: what they are, what they cost that day, how much they appeal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from recjobs import columns as c
from recjobs.sources.marketplace import draws
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.draws import Floats, Keys
from recjobs.sources.marketplace.words import BRANDS_BY_STYLE, CATEGORIES, STYLE_ADJECTIVES
from recjobs.sources.marketplace.world import STYLES, alive, identifiers, midnights

Integers = npt.NDArray[np.int64]

ITEM_PREFIX = "i"
PRICE_SPREAD = 0.5
"""Standard deviation of the log price within a category."""
OUT_OF_STOCK, STOCK_DAYS = 0.03, 4
SALE_SHARE, SALE_DAYS, DEEPEST_SALE, SALE_APPEAL = 0.12, 7, 0.4, 2.0
NOVELTY, NOVELTY_DAYS = 1.5, 5.0
TREND, SHORTEST_TREND, LONGEST_TREND = 0.5, 15, 60
LEAST_RANK_SHARE = 1e-3
"""Bounds the most popular item's appeal."""

ITEMS_SCHEMA = pa.schema(
    [
        (c.ITEM, pa.string()),
        (c.TITLE, pa.string()),
        (c.DESCRIPTION, pa.string()),
        (c.CATEGORY, pa.string()),
        (c.BRAND, pa.string()),
        (c.PRICE, pa.float64()),
        (c.CREATED_AT, c.TIME_TYPE),
        (c.AVAILABLE, pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Catalogue:
    """The items of a day by key, a row each."""

    seed: int
    day: int
    keys: Keys
    born: Keys
    category: Integers
    style: Integers
    price: Floats
    level: Floats
    """The price in standard deviations of the log price within the category."""
    appeal: Floats
    """Relative appeal that day, the same for all users; 0 when not available."""
    available: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.keys)

    def ids(self) -> pa.Array:
        """The item ids, in the order of the rows."""
        return identifiers(ITEM_PREFIX, self.keys)

    def snapshot(self) -> pa.Table:
        """The day's item snapshot, by key."""
        words = _words(self)
        columns = {
            c.ITEM: self.ids(),
            c.TITLE: words[c.TITLE].to_arrow(),
            c.DESCRIPTION: words[c.DESCRIPTION].to_arrow(),
            c.CATEGORY: pa.array([category.path for category in CATEGORIES]).take(pa.array(self.category)),
            c.BRAND: words[c.BRAND].to_arrow(),
            c.PRICE: pa.array(self.price),
            c.CREATED_AT: midnights(self.born),
            c.AVAILABLE: pa.array(self.available),
        }
        return pa.table([columns[name].cast(kind) for name, kind in _types()], schema=ITEMS_SCHEMA)


def _types() -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in ITEMS_SCHEMA]


@lru_cache(maxsize=32)
def catalogue_of(config: MarketplaceConfig, day: int) -> Catalogue:
    """The items on sale on day `day`. An item's nature never changes; its price, appeal and stock do."""
    seed = config.seed
    keys, born = alive(seed, "item", config.items, config.item_life_days, day)
    category = draws.integer(seed, "item category", len(CATEGORIES), keys)
    discount = _discount(seed, keys, day)
    usual = np.log([category.usual_price for category in CATEGORIES])[category]
    exact = np.exp(usual + PRICE_SPREAD * draws.normal(seed, "item price", keys)) * (1 - discount)
    price = np.maximum(np.round(exact), 1.0) - 0.01
    available = draws.uniform(seed, "item stock", keys, day // STOCK_DAYS) >= OUT_OF_STOCK
    appeal = _appeal(config, keys, day - born, day) * (1 + SALE_APPEAL * discount)
    return Catalogue(
        seed=seed,
        day=day,
        keys=keys,
        born=born,
        category=category,
        style=draws.integer(seed, "item style", STYLES, keys),
        price=np.round(price, 2),
        level=(np.log(price) - usual) / PRICE_SPREAD,
        appeal=np.where(available, appeal, 0.0),
        available=available,
    )


def _discount(seed: int, keys: Keys, day: int) -> Floats:
    """Today's share off the price; most items have none. An item's sale weeks start on its own weekday."""
    week = (day + draws.integer(seed, "item sale start", SALE_DAYS, keys)) // SALE_DAYS
    on_sale = draws.uniform(seed, "item on sale", keys, week) < SALE_SHARE
    return np.where(on_sale, DEEPEST_SALE * draws.uniform(seed, "item sale depth", keys, week), 0.0)


def _appeal(config: MarketplaceConfig, keys: Keys, age: Keys, day: int) -> Floats:
    """Zipf's law, a newcomer's bonus and a slow wave.

    Among n items whose appeal is u^-s with u uniform in (0, 1), the r-th has about (r / n)^-s:
    Zipf's law, without ranks that a newcomer would shift.
    """
    share = np.maximum(draws.uniform(config.seed, "item rank", keys), LEAST_RANK_SHARE)
    period = SHORTEST_TREND + (LONGEST_TREND - SHORTEST_TREND) * draws.uniform(config.seed, "item period", keys)
    wave = np.sin(2 * np.pi * (day / period + draws.uniform(config.seed, "item phase", keys)))
    newcomer = 1 + NOVELTY * np.exp(-age / NOVELTY_DAYS)
    return share**-config.zipf_exponent * newcomer * np.exp(TREND * wave)


def _words(items: Catalogue) -> pl.DataFrame:
    """Title, description and brand of each item."""
    frame = pl.DataFrame(
        {
            "adjective": _word(items, "adjective", STYLE_ADJECTIVES, items.style),
            "material": _word(items, "material", [category.materials for category in CATEGORIES], items.category),
            "noun": _word(items, "noun", [category.nouns for category in CATEGORIES], items.category),
            c.BRAND: _word(items, "brand", BRANDS_BY_STYLE, items.style),
            "department": _taken([category.path.split("/")[0] for category in CATEGORIES], items.category),
        }
    )
    title = pl.format("{} {} {}", "adjective", "material", "noun").str.to_titlecase()
    description = pl.format(
        "{} {}, {} in style, from the {} range of {}", "material", "noun", "adjective", "department", c.BRAND
    )
    return frame.select(title.alias(c.TITLE), description.alias(c.DESCRIPTION), c.BRAND)


def _word(
    items: Catalogue, name: str, lists: list[tuple[str, ...]] | tuple[tuple[str, ...], ...], of: Integers
) -> pl.Series:
    """A word for each item from the list at position `of`."""
    lengths = np.array([len(words) for words in lists])
    starts = np.cumsum(lengths) - lengths
    within = (draws.uniform(items.seed, f"item {name}", items.keys) * lengths[of]).astype(np.int64)
    return _taken([word for words in lists for word in words], starts[of] + within)


def _taken(words: list[str], positions: Integers) -> pl.Series:
    return pl.Series(words)[positions]
