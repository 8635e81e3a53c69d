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
    """Gives each new item's rows in the tables of ids the mean of its kin's; the unknown row without content."""
    new, kept = rows.new_rows, np.flatnonzero(rows.source[1:] != NEW) + 1
    if not len(new):
        return
    kin = None if items.content is None or not len(kept) else kept[_kin(items, new, kept)]
    for table in (items.id_embedding, items.history_embedding):
        if table is not None:
            started = tf.tile(table[:1], [len(new), 1]) if kin is None else _means(table, kin)
            table.assign(tf.tensor_scatter_nd_update(table, new[:, None], started))


def _means(table: Any, rows: Any) -> Any:
    """float32[new, D]: the means of the rows in `rows` int64[new, n] of `table`."""
    starts = range(0, len(rows), _ITEMS_A_CALL)
    blocks = [tf.reduce_mean(tf.gather(table, rows[start : start + _ITEMS_A_CALL]), axis=1) for start in starts]
    return tf.concat(blocks, axis=0)


def _kin(items: ItemTower, new: Any, kept: Any) -> Any:
    """int32[new, KIN]: the places in `kept` of the items with the most similar content, by cosine."""
    content = _content(items, kept)
    block = max(1, _CELLS // len(kept))
    found = []
    for start in range(0, len(new), block):
        similar = tf.matmul(_content(items, new[start : start + block]), content, transpose_b=True)
        found.append(tf.math.top_k(similar, min(KIN, len(kept))).indices.numpy())
    return np.concatenate(found)


def _content(items: ItemTower, indexes: Any) -> Any:
    """float32[N, D], of length 1: what is left of the representation of N items without their id rows."""
    starts = range(0, len(indexes), _ITEMS_A_CALL)
    parts = [tf.constant(indexes[start : start + _ITEMS_A_CALL]) for start in starts]
    blocks = [items.representation(part) - tf.gather(items.id_embedding, part) for part in parts]
    return tf.math.l2_normalize(tf.concat(blocks, axis=0), axis=1)
