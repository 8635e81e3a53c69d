"""Where a full training starts from."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.sequences import Sequences
from recjobs.retrieve.train.spectral import Factors, following, normalised, spectral_factors
from recjobs.retrieve.train.targets import SECONDS_A_DAY
from recjobs.retrieve.user_features import EVENT_TYPE, ITEM, TIME

log = logging.getLogger(__name__)

Weights = npt.NDArray[np.float32]


def start_from(items: ItemTower, blocks: Iterable[Sequences], event_weight: Weights, last_day: int, seed: int) -> None:
    """Sets the tables of `items` to the factors of what users did until the end of `last_day` (days since 1970).

    Dislikes (`event_weight` float32[types + 1] below 0) are left out: they do not say that an item follows. Rows of
    items without any keep what they have.
    """
    started = time.perf_counter()
    factors = _factors(blocks, event_weight, last_day, items.warm, items.size, seed)
    tables = ((items.id_embedding, factors.catalogue), (items.history_embedding, factors.history))
    for table, values in tables:
        if table is not None:
            known = np.abs(values).sum(axis=1, keepdims=True) > 0
            table.assign(np.where(known, values, table.numpy()))
    log.info("item vectors start from who follows whom, %.1f s", time.perf_counter() - started)


def _factors(
    blocks: Iterable[Sequences], event_weight: Weights, last_day: int, count: int, size: int, seed: int
) -> Factors:
    counts = np.zeros(count, np.int64)
    forward = None
    for block in blocks:
        known = block.events[TIME] < (last_day + 1) * SECONDS_A_DAY
        known &= event_weight[block.events[EVENT_TYPE]] >= 0
        items = block.events[ITEM][known].astype(np.int64)
        sequence = np.repeat(np.arange(len(block.lengths)), block.lengths)[known]
        found = following(items, sequence, count)
        forward = found if forward is None else forward + found
        counts += np.bincount(items - 1, minlength=count)
    return spectral_factors(normalised(forward, counts), size=size, seed=seed)
