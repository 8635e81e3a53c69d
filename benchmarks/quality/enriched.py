"""Columns that the generated marketplace lacks: ready-made vectors and declared columns, as a shop might have them.

An item gets a `look` (what an image encoder would say: its style, and noise) and a `rating` (its lasting appeal, with
noise); six users of ten tell their `budget`. They follow from the seed and the key alone, so they are the same on
every day.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns as c
from recjobs.sources.marketplace import draws
from recjobs.sources.marketplace.catalogue import ITEM_PREFIX, LEAST_RANK_SHARE
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.draws import Keys
from recjobs.sources.marketplace.population import USER_PREFIX
from recjobs.sources.marketplace.world import PRICE_LEVELS, STYLES, keys_of

LOOK, RATING, BUDGET = "look", "rating", "budget"
LOOK_SIZE, LOOK_NOISE, RATING_NOISE, BUDGET_TOLD = 16, 1.0, 1.0, 0.6
DECLARED = {"items.vectors": [LOOK], "items.numeric": [RATING], "users.categorical": [BUDGET]}
"""The settings that have them read."""


def enrich(config: MarketplaceConfig, folder: Path) -> None:
    """Adds the columns to the snapshots below `folder`, wherever they are not there yet."""
    _each(folder / "items", ITEM_PREFIX, c.ITEM, lambda keys: _of_items(config.seed, keys))
    _each(folder / "users", USER_PREFIX, c.USER, lambda keys: _of_users(config.seed, keys))


def _each(folder: Path, prefix: str, identity: str, made: Callable[[Keys], dict[str, pa.Array]]) -> None:
    for path in sorted(folder.rglob("*.parquet")):
        table = pq.read_table(path)
        for name, values in made(keys_of(prefix, table[identity].to_pylist())).items():
            if name not in table.column_names:
                table = table.append_column(name, values)
        pq.write_table(table, path)


def _of_items(seed: int, keys: Keys) -> dict[str, pa.Array]:
    style = draws.integer(seed, "item style", STYLES, keys)
    styles = np.random.default_rng(seed).normal(size=(STYLES, LOOK_SIZE))
    noise = draws.normal(seed, "item look", keys[:, None], np.arange(LOOK_SIZE))
    appeal = -np.log(np.maximum(draws.uniform(seed, "item rank", keys), LEAST_RANK_SHARE))
    look: Any = list((styles[style] + LOOK_NOISE * noise).astype(np.float32))
    rating = appeal + RATING_NOISE * draws.normal(seed, "item rating", keys)
    return {LOOK: pa.array(look, pa.list_(pa.float32())), RATING: pa.array(rating)}


def _of_users(seed: int, keys: Keys) -> dict[str, pa.Array]:
    level = draws.integer(seed, "user price level", len(PRICE_LEVELS), keys)
    told = draws.uniform(seed, "user tells a budget", keys) < BUDGET_TOLD
    names = np.array([f"level {number}" for number in range(len(PRICE_LEVELS))])[level]
    return {BUDGET: pa.array(names.tolist(), pa.string(), mask=~told)}
