"""Item vectors to start training from: the leading singular vectors of who follows whom.

S[i, j] counts how often j comes after i in training sequences, each pair by 1 / √distance, a part of it the other way
round, and divided by powers of both items' counts. Its truncated singular value decomposition gives each item a
vector for the history (what it leads to) and one for the catalogue (what it follows), whose dot products are as close
to S as D numbers an item allow. It takes seconds and knows what gradient descent needs tens of epochs for: embeddings
trained on who is near whom factorise such a matrix anyway (Levy & Goldberg 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

REACH = 20
"""Events that lie further apart than this say nothing of each other."""
BACKWARD = 0.3
"""What a pair counts in the other direction."""
_SOURCE_POWER, _TARGET_POWER = 0.5, 0.3
"""Popular items say less as a source; as a target they are mostly what is bought anyway, but not only."""
_POWER_ITERATIONS = 6


@dataclass(frozen=True)
class Factors:
    """For items 1…n (row 0 is the unknown item, zeros): float32[n + 1, D] each. Scaled to rows of about length 1."""

    history: Floats
    catalogue: Floats


def spectral_factors(matrix: Any, *, size: int, seed: int) -> Factors:
    """Factors of `normalised` counts, sparse float32[count, count]. Reproducible for a seed.

    Items that follow nothing and lead to nothing have rows of zeros.
    """
    from sklearn.utils.extmath import randomized_svd

    rank = min(size, matrix.shape[0])
    left, values, right = randomized_svd(matrix, rank, n_iter=_POWER_ITERATIONS, random_state=seed)
    scale = np.sqrt(values)
    return Factors(_table(left * scale, size), _table(right.T * scale, size))


def following(items: Ints, sequence: Ints, count: int) -> Any:
    """Who follows whom in a block of sequences, sparse float32[count, count]; blocks add up.

    `items` int64[N] are item indexes 1…count in time order, `sequence` int64[N] says which sequence each is of.
    """
    from scipy import sparse

    forward = sparse.csr_matrix((count, count), dtype=np.float32)
    for distance in range(1, min(REACH, len(items) - 1) + 1):
        same = sequence[:-distance] == sequence[distance:]
        if not same.any():
            break
        before, after = items[:-distance][same] - 1, items[distance:][same] - 1
        weight = np.full(len(before), distance**-0.5, np.float32)
        forward += sparse.csr_matrix((weight, (before, after)), shape=(count, count))
    return forward


def normalised(forward: Any, counts: Ints) -> Any:
    """The sum of all `following`, both ways and divided by powers of how often each item occurs, int64[count]."""
    from scipy import sparse

    often = np.maximum(counts, 1).astype(np.float32)
    both = forward + BACKWARD * forward.T
    return (sparse.diags(often**-_SOURCE_POWER) @ both @ sparse.diags(often**-_TARGET_POWER)).tocsr()


def _table(rows: Any, size: int) -> Floats:
    table = np.zeros((len(rows) + 1, size), np.float32)
    table[1:, : rows.shape[1]] = rows
    lengths = np.linalg.norm(table, axis=1)
    return table / max(float(lengths[lengths > 0].mean()) if (lengths > 0).any() else 1.0, 1e-12)
