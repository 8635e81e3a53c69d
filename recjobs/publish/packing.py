"""Rows of lists as they are stored (docs/decisions/0005): item ids as one text, each distinct reason of a list once.

Packed ids load three times as fast as an array of texts, and a list's reasons repeat a lot. Postgres
unpacks a row in some microseconds (`sql/views/stored_user_lists.sql`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recjobs import columns
from recjobs.errors import PublishError
from recjobs.publish.tables import Table
from recjobs.ragged import Ints, list_array, places, rows_of

_KEY_BYTES = columns.LONGEST_ID
"""A B-tree key must fit a third of a page."""


def packed(table: Table, surface: str | None, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of `batch`, columns as in `table.parquet`, as `table.schema` has them.

    Raises:
        PublishError: a null, a key that is too long, an id with the separator in it, or lists of
            one row that differ in length.
    """
    lists = [column for column in batch.columns if pa.types.is_list(column.type)]
    if any(lists[0].value_lengths() != column.value_lengths() for column in lists[1:]):
        raise PublishError(
            "ids, scores and reasons of a list differ in length. Delete the run of compose, run it again."
        )
    arrays = _unpacked_names(table, batch)
    arrays["items"] = _joined(arrays["items"])
    if "reasons" in arrays:
        arrays["reasons"], arrays["reason_of"] = _coded(arrays["reasons"])
    if surface is not None:
        arrays["surface"] = pa.repeat(pa.scalar(surface), batch.num_rows)
    for name, array in arrays.items():
        if array.null_count:
            raise PublishError(f"column {name}: {array.null_count} nulls; compose must leave none.")
    for name in table.key:
        longest = pc.max(pc.binary_length(arrays[name])).as_py() or 0
        if longest > _KEY_BYTES:
            raise PublishError(f"column {name}: a value of {longest} bytes; at most {_KEY_BYTES} can be a key.")
    return pa.record_batch([arrays[field.name].cast(field.type) for field in table.schema], schema=table.schema)


def _unpacked_names(table: Table, batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """The batch's columns by the names that the table has for them."""
    names = [name for name in table.schema.names if name not in ("surface", "reason_of")]
    return {name: batch.column(source) for name, source in zip(names, table.parquet, strict=True)}


def _joined(ids: pa.ListArray) -> pa.Array:
    if pc.any(pc.match_substring(ids.flatten(), columns.SEPARATOR)).as_py():
        raise PublishError("column items: an id holds the separator U+001F, which extract quarantines. Run it again.")
    return pc.binary_join(ids, columns.SEPARATOR)


def _coded(reasons: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """Each row's distinct reasons, in no particular order, and by item the place of its reason there, from 1.

    Places are two bytes each, the higher one first.
    """
    codes, texts = _encoded(reasons)
    lengths = reasons.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    rows, cells = rows_of(lengths), places(lengths)
    width = int(lengths.max(initial=1)) or 1
    # A row of numbers for a list: reason and place in one, so that a sort brings equal reasons together. Rows that
    # are shorter end with a reason that is none.
    none = len(texts)
    table = np.full((len(lengths), width), none * width, np.int32 if (none + 1) * width < 2**31 else np.int64)
    table[rows, cells] = codes.astype(table.dtype) * width + cells
    table.sort(axis=1)
    reason, place = np.divmod(table, width)
    first, real = np.ones_like(table, bool), reason < none
    first[:, 1:] = reason[:, 1:] != reason[:, :-1]
    first &= real
    reason_of = np.empty(table.shape, ">u2")
    reason_of[np.nonzero(real)[0], place[real]] = np.cumsum(first, axis=1, dtype=np.uint16)[real]
    return list_array(texts.take(pa.array(reason[first])), first.sum(axis=1)), _bytes(reason_of[rows, cells], lengths)


def _bytes(values: npt.NDArray[np.uint16], lengths: Ints) -> pa.Array:
    """A binary column with the bytes of `lengths[i]` values in row i."""
    ends = np.r_[0, np.cumsum(lengths) * values.itemsize].astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(ends), pa.py_buffer(values.tobytes())])


def _encoded(reasons: pa.ListArray) -> tuple[npt.NDArray[np.int32], pa.Array]:
    """All reasons one after the other as places in the second array."""
    flat = reasons.flatten()
    if reasons.null_count or flat.null_count:
        raise PublishError("column reasons: nulls; compose must leave none.")
    encoded = flat if pa.types.is_dictionary(flat.type) else flat.dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary
