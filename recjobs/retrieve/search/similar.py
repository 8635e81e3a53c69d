"""Each item's nearest items by cosine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from recjobs import columns
from recjobs.retrieve.search.audit import choose
from recjobs.retrieve.search.index import (
    MIN_TREE_ITEMS,
    Database,
    Indexes,
    Searcher,
    Vectors,
    build_index,
    efforts,
    exact_searcher,
)
from recjobs.retrieve.search.vectors import list_column

_ITEMS_A_CALL = 50_000
_AUDITED_ITEMS = 500


def similar_table(
    items: pa.Table, vectors: Vectors, database: Database, k: int, *, exact_below: int, recall_floor: float
) -> pa.Table:
    """`SIMILAR_SCHEMA` for every item of `items` (`item_index`, `item_id`), whose vectors are `vectors`.

    Only items of `database` are proposed; itself is left out. K is cut to the database's size less one.
    Exact below `exact_below` items, else of at least `recall_floor` recall on a sample of items.
    """
    directions = Database(database.item_index, unit(database.vectors))
    wanted = min(k, len(database.item_index) - 1)
    own = items[columns.ITEM_INDEX].to_numpy()
    searcher = _searcher(directions, wanted + 1, exact_below=exact_below, recall_floor=recall_floor)
    parts = list(_blocks(searcher, unit(vectors), own, wanted))
    lists = [list_column(np.concatenate(column)) for column in zip(*parts, strict=True)]
    return pa.Table.from_arrays([items[columns.ITEM_INDEX], items[columns.ITEM], *lists], schema=columns.SIMILAR_SCHEMA)


def _blocks(searcher: Searcher, directions: Vectors, own: Indexes, k: int) -> Iterator[tuple[Indexes, Vectors]]:
    for start in range(0, len(own), _ITEMS_A_CALL):
        stop = start + _ITEMS_A_CALL
        found = searcher.search(directions[start:stop])
        yield without_self(found.item_index, found.score, own[start:stop], k)


def without_self(index: Indexes, score: Vectors, own: Indexes, k: int) -> tuple[Indexes, Vectors]:
    """The first K of K + 1 hits that are not the item itself: int32[B, K], float32[B, K]."""
    keep = index != own[:, None]
    keep[keep.all(axis=1), -1] = False
    return index[keep].reshape(len(own), k), score[keep].reshape(len(own), k)


def unit(vectors: Vectors) -> Vectors:
    """The vectors at length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled


def _searcher(directions: Database, k: int, *, exact_below: int, recall_floor: float) -> Searcher:
    size = len(directions.item_index)
    exact = exact_searcher(directions, k)
    if size < max(exact_below, MIN_TREE_ITEMS):
        return exact
    index = build_index(directions, k)
    sample = directions.vectors[:: -(-size // _AUDITED_ITEMS)]
    searchers = [Searcher(directions, index, k, effort) for effort in efforts(size, k)]
    return choose(searchers, exact, sample, recall_floor)[0]
