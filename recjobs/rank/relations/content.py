"""How alike items are by the words of their texts, their category and their brand: rare words count more.

An item is the vector of its words, each weighted by log(items / items with the word), of length 1. The dot product of
two items is a cosine in [0, 1]; an item without words is like nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from recjobs import columns
from recjobs.rank.encodings import local_codes

_TOKENS = "_tokens"
_NAMED = (columns.CATEGORY, columns.BRAND)


def item_words(items: pl.DataFrame) -> Any:
    """CSR float32[items + 1, words], rows of length 1 or 0; row 0 is the unknown item. `items` by item_index."""
    texts = sorted(name for name in items.columns if name.endswith(_TOKENS))
    parts = [*(_of_text(items[name]) for name in texts), *(_of_value(items[name]) for name in _NAMED)]
    words = sparse.hstack(parts, format="csr").sign()
    frequency = np.asarray(words.sum(axis=0)).ravel()
    words = words @ sparse.diags(np.log(items.height / np.maximum(frequency, 1.0)))
    length = np.sqrt(np.asarray(words.multiply(words).sum(axis=1)).ravel())
    scaled = sparse.diags(1.0 / np.where(length > 0, length, 1.0)) @ words
    scaled.eliminate_zeros()
    return sparse.vstack([sparse.csr_matrix((1, words.shape[1])), scaled], format="csr").astype(np.float32)


def _of_text(tokens: pl.Series) -> Any:
    flat = pl.DataFrame({"token": tokens}).with_row_index("row").explode("token").drop_nulls("token")
    return _cells(flat["row"].to_numpy(), flat["token"].to_numpy(), tokens.len())


def _of_value(values: pl.Series) -> Any:
    codes, _ = local_codes(values)
    known = np.flatnonzero(codes)
    return _cells(known, codes[known], len(codes))


def _cells(rows: npt.NDArray[Any], words: npt.NDArray[Any], items: int) -> Any:
    shape = (items, int(words.max(initial=0)) + 1)
    return sparse.coo_matrix((np.ones(len(rows)), (rows, words)), shape=shape).tocsr()
