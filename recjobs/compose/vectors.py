"""Item vectors for diversity and clusters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.ragged import matrix

Floats = npt.NDArray[np.float32]


def load_vectors(uri: str, size: int) -> Floats:
    """`retrieve/search`'s item vectors by index, float32[size + 1, D], of length 1; zeros where there is none."""
    with storage.reading(uri) as stream:
        table = pq.read_table(stream, columns=[columns.ITEM_INDEX, columns.VECTOR])
    own = directions(matrix(table.column(columns.VECTOR)))
    vectors = np.zeros((size + 1, max(own.shape[1], 1)), np.float32)
    if len(own):
        vectors[table.column(columns.ITEM_INDEX).to_numpy()] = own
    return vectors


def directions(vectors: Floats) -> Floats:
    """The vectors at length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled
