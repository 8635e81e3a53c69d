"""Where a full training starts from."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.spectral import spectral_factors
from recjobs.retrieve.user_features import ITEM

log = logging.getLogger(__name__)
_PARSE_BATCH = 4096


def start_from(items: ItemTower, files: Sequence[str], seed: int) -> None:
    """Sets the tables of `items` to the factors of the sequences in `files`; rows without any keep what they have."""
    started = time.perf_counter()
    flat, starts = _items_of(files)
    factors = spectral_factors(flat, starts, count=items.warm, size=items.size, seed=seed)
    tables = ((items.id_embedding, factors.catalogue), (items.history_embedding, factors.history))
    for table, values in tables:
        if table is not None:
            known = np.abs(values).sum(axis=1, keepdims=True) > 0
            table.assign(np.where(known, values, table.numpy()))
    log.info("item vectors start from who follows whom, %.1f s", time.perf_counter() - started)


def _items_of(files: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All sequences' items one after the other, and where each sequence starts."""
    feature = {ITEM: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)}
    records = tf.data.TFRecordDataset(list(files)).batch(_PARSE_BATCH)
    parts = [tf.io.parse_example(batch, feature)[ITEM] for batch in records]
    flat = np.concatenate([part.values.numpy() for part in parts])
    lengths = np.concatenate([part.row_lengths().numpy() for part in parts])
    return flat, np.cumsum(lengths) - lengths
