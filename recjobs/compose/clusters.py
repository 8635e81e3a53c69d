"""Clusters of item vectors: what kinds of items there are, by who wants them rather than by what they are called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.compose.vectors import Floats, directions, load_vectors

Codes = npt.NDArray[np.int32]

NONE = -1
"""The cluster of no item."""
FEWEST_ITEMS = 8
"""Items a cluster should have on average: with fewer, a small catalogue gets fewer clusters."""
_BATCH = 4096


@dataclass(frozen=True)
class Clusters:
    """A cluster for each item."""

    of: Codes
    """[I + 1]: each item's cluster; NONE at 0 and for items without a vector."""
    centres: Floats
    """[C, D]: the clusters' mean directions."""

    @property
    def size(self) -> int:
        """C, the number of clusters."""
        return len(self.centres)


def cluster_items(vectors_uri: str, items: int, clusters: int, seed: int) -> Clusters:
    """At most `clusters` clusters of the `items` vectors in `retrieve/search`'s item_vectors.parquet.

    Fewer where there are fewer than FEWEST_ITEMS items for each.
    """
    vectors = load_vectors(vectors_uri, items)
    known = int(np.any(vectors != 0, axis=1).sum())
    return grouped(vectors, min(clusters, max(1, known // FEWEST_ITEMS)), seed)


def grouped(vectors: Floats, count: int, seed: int) -> Clusters:
    """At most `count` clusters of items by `vectors` [I + 1, D], of length 1, so that near means alike in direction.

    Mini-batch k-means (Sculley, WWW 2010) of scikit-learn; fewer clusters where fewer vectors are distinct.
    """
    from sklearn.cluster import MiniBatchKMeans

    known = np.flatnonzero(np.any(vectors != 0, axis=1))
    of = np.full(len(vectors), NONE, np.int32)
    if not len(known):
        return Clusters(of, np.zeros((0, vectors.shape[1]), np.float32))
    count = min(count, len(np.unique(vectors[known], axis=0)))
    model = MiniBatchKMeans(count, batch_size=_BATCH, n_init=3, random_state=seed)
    of[known] = model.fit_predict(vectors[known].astype(np.float64))
    return Clusters(of, directions(model.cluster_centers_.astype(np.float32)))


def clustered(vectors: Floats, count: int, seed: int) -> Codes:
    """The cluster of each item by `grouped`, 1 … `count` at most, int32[I + 1]; 0 for one without a vector."""
    codes: Codes = grouped(vectors, count, seed).of - NONE
    return codes


def nearest_centre(vectors: Floats, centres: Floats) -> Codes:
    """The cluster that each vector points to most, int32[rows]; ties go to the first."""
    found: Codes = np.argmax(vectors @ centres.T, axis=1).astype(np.int32)
    return found


def write_clusters(clusters: Codes, uri: str) -> None:
    """Writes `item_index`, `cluster` of every item, as `clustered` gives them."""
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
