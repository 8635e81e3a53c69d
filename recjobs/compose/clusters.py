"""Clusters of item vectors: what kinds of items there are, by who wants them rather than by what they are called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy import sparse

from recjobs import columns, storage
from recjobs.ragged import flat_lists

Vectors = npt.NDArray[np.float32]

NONE = -1
"""The cluster of no item."""
FEWEST_ITEMS = 8
"""Items a cluster should have on average: with fewer, a small catalogue gets fewer clusters."""
_BATCH, _BATCHES, _SAMPLE = 1024, 100, 10_000
"""Vectors of a step, steps, and vectors that the first centres are drawn from."""


@dataclass(frozen=True)
class Clusters:
    """A cluster for each item."""

    of: npt.NDArray[np.int32]
    """[I + 1]: each item's cluster; NONE at 0 and for items without a vector."""
    centres: Vectors
    """[C, D]: the clusters' mean directions."""

    @property
    def size(self) -> int:
        """C, the number of clusters."""
        return len(self.centres)


def cluster_items(vectors_uri: str, items: int, clusters: int, seed: int) -> Clusters:
    """At most `clusters` clusters of the `items` vectors in `retrieve/search`'s item_vectors.parquet.

    Mini-batch k-means (Sculley, WWW 2010) on the vectors' directions, begun as k-means++ does, from `seed` alone.
    Fewer clusters where there are fewer than FEWEST_ITEMS items for each.
    """
    with storage.reading(vectors_uri) as stream:
        table = pq.read_table(stream, columns=[columns.ITEM_INDEX, columns.VECTOR])
    index = table.column(columns.ITEM_INDEX).to_numpy().astype(np.int64)
    vectors = directions(vector_rows(table.column(columns.VECTOR)))
    known = (index > 0) & (index <= items)
    wanted = min(clusters, max(1, int(known.sum()) // FEWEST_ITEMS))
    of = np.full(items + 1, NONE, np.int32)
    if not known.any():
        return Clusters(of, np.zeros((0, vectors.shape[1]), np.float32))
    of[index[known]], centres = _k_means(vectors[known], wanted, seed)
    return Clusters(of, centres)


def vector_rows(column: object) -> Vectors:
    """A list column of equally long vectors as a matrix, float32[rows, D]."""
    values, lengths = flat_lists(column)  # type: ignore[arg-type]
    width = int(lengths[0]) if len(lengths) else 0
    return values.astype(np.float32, copy=False).reshape(len(lengths), width)


def directions(vectors: Vectors) -> Vectors:
    """The vectors at length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled


def nearest_centre(vectors: Vectors, centres: Vectors) -> npt.NDArray[np.int32]:
    """The cluster that each vector points to most, int32[rows]; ties go to the first."""
    found: npt.NDArray[np.int32] = np.argmax(vectors @ centres.T, axis=1).astype(np.int32)
    return found


def _k_means(vectors: Vectors, clusters: int, seed: int) -> tuple[npt.NDArray[np.int32], Vectors]:
    """Each vector's cluster, and the clusters' directions."""
    random = np.random.default_rng(seed)
    centres = _begun(vectors[random.permutation(len(vectors))[:_SAMPLE]], clusters, random)
    seen = np.zeros(clusters)
    for _ in range(_BATCHES):
        batch = vectors[random.integers(0, len(vectors), _BATCH)]
        near = nearest_centre(batch, centres)
        counts = np.bincount(near, minlength=clusters)
        sums = sparse.csr_array((np.ones(_BATCH), near, np.arange(_BATCH + 1)), (_BATCH, clusters)).T @ batch
        seen += counts
        # A centre is the mean of all that was ever nearest to it: it moves less and less.
        step = (sums - counts[:, None] * centres) / np.maximum(seen, 1)[:, None]
        centres = directions((centres + step).astype(np.float32))
    return nearest_centre(vectors, centres), centres


def _begun(vectors: Vectors, clusters: int, random: np.random.Generator) -> Vectors:
    """Centres far apart: each next one drawn with chances that grow with the squared distance to the nearest so far."""
    chosen = [int(random.integers(len(vectors)))]
    gap = np.full(len(vectors), np.inf)
    while len(chosen) < clusters:
        gap = np.minimum(gap, np.maximum(2 - 2 * (vectors @ vectors[chosen[-1]]).astype(np.float64), 0))
        total = gap.sum()
        odds = gap / total if total > 0 else None
        chosen.append(int(random.choice(len(vectors), p=odds)))
    return vectors[chosen]
