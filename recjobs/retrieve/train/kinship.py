"""New items' id rows from content: an item is first taken for the mean of those that it most resembles."""

from __future__ import annotations

from typing import Any

import numpy as np

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.rows import NEW, RowMap

KIN = 10
"""How many of the most similar kept items a new item's row is the mean of."""
_CELLS = 16_000_000
_ITEMS_A_CALL = 8192


def rows_from_content(items: ItemTower, rows: RowMap) -> None:
    """Gives each new item's row in `items.id_embedding` the mean of its kin's; the unknown row without content."""
    new, kept = rows.new_rows, np.flatnonzero(rows.source[1:] != NEW) + 1
    if not len(new):
        return
    table = items.id_embedding
    if items.content is None or not len(kept):
        started = tf.tile(table[:1], [len(new), 1])
    else:
        started = _means_of_kin(items, new, kept)
    table.assign(tf.tensor_scatter_nd_update(table, new[:, None], started))


def _means_of_kin(items: ItemTower, new: Any, kept: Any) -> Any:
    """float32[new, D]: the mean id row of the KIN kept items with the most similar content, by cosine."""
    known = tf.constant(tf.gather(items.id_embedding, kept))
    content = _content(items, kept)
    block = max(1, _CELLS // len(kept))
    means = []
    for start in range(0, len(new), block):
        similar = tf.matmul(_content(items, new[start : start + block]), content, transpose_b=True)
        means.append(tf.reduce_mean(tf.gather(known, tf.math.top_k(similar, min(KIN, len(kept))).indices), axis=1))
    return tf.concat(means, axis=0)


def _content(items: ItemTower, indexes: Any) -> Any:
    """float32[N, D], of length 1: what is left of the representation of N items without their id rows."""
    starts = range(0, len(indexes), _ITEMS_A_CALL)
    parts = [tf.constant(indexes[start : start + _ITEMS_A_CALL]) for start in starts]
    blocks = [items.representation(part) - tf.gather(items.id_embedding, part) for part in parts]
    return tf.math.l2_normalize(tf.concat(blocks, axis=0), axis=1)
