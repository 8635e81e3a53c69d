"""Item vectors for diversity, and the clusters they fall into."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.compose.clusters import k_means
from recjobs.ragged import flat_lists

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]


def load_vectors(uri: str, size: int) -> Floats:
    """`retrieve/search`'s item vectors by index, float32[size + 1, D], of length 1; zeros where there is none."""
    with storage.reading(uri) as stream:
        table = pq.read_table(stream, columns=[columns.ITEM_INDEX, columns.VECTOR])
    flat, lengths = flat_lists(table.column(columns.VECTOR))
    vectors = np.zeros((size + 1, int(lengths[0]) if len(lengths) else 1), np.float32)
    vectors[table.column(columns.ITEM_INDEX).to_numpy()] = flat.reshape(table.num_rows, -1)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
    return scaled


def clustered(vectors: Floats, count: int, seed: int) -> Codes:
    """The cluster of each item by `k_means`, 1 … `count` at most, int32[I + 1]; 0 for one without a vector."""
    known = np.flatnonzero(np.any(vectors != 0, axis=1))
    clusters = np.zeros(len(vectors), np.int32)
    if len(known):
        count = min(count, len(np.unique(vectors[known], axis=0)))
        clusters[known] = k_means(vectors[known], count, seed)[0] + 1
    return clusters


def write_clusters(clusters: Codes, uri: str) -> None:
    """Writes `item_index`, `cluster` of every item."""
    indexes = pa.array(np.arange(1, len(clusters), dtype=np.int32))
    table = pa.table({columns.ITEM_INDEX: indexes, columns.CLUSTER: pa.array(clusters[1:])})
    with storage.writing(uri) as stream:
        pq.write_table(table, stream, compression="zstd")


def load_clusters(uri: str) -> Codes:
    """What `write_clusters` wrote, int32[I + 1]."""
    with storage.reading(uri) as stream:
        table = pq.read_table(stream)
    clusters: Codes = np.r_[0, table.column(columns.CLUSTER).to_numpy()].astype(np.int32)
    return clusters
