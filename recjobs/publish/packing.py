"""Rows of lists as they are stored (docs/decisions/0005): item ids as one text, each distinct reason of a list once.

Packed ids load three times as fast as an array of texts, and a list's reasons repeat a lot. Postgres
unpacks a row in some microseconds (`sql/views/stored_user_lists.sql`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recjobs import columns
from recjobs.errors import PublishError
from recjobs.publish.tables import Table
from recjobs.ragged import flat_lists, list_array, rows_of

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
        raise PublishError(
            "column items: an id holds the separator U+001F, which extract quarantines. Run it again."
        )
    return pc.binary_join(ids, columns.SEPARATOR)


def _coded(reasons: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """Each row's distinct reasons, in no particular order, and by item the place of its reason there, from 1."""
    if reasons.null_count or reasons.flatten().null_count:
        raise PublishError("column reasons: nulls; compose must leave none.")
    encoded = reasons.flatten().dictionary_encode()
    codes, lengths = flat_lists(pa.ListArray.from_arrays(_offsets(reasons), encoded.indices))
    rows, texts = rows_of(lengths).astype(np.int64), max(len(encoded.dictionary), 1)
    # One sort brings equal reasons of a row together; the item's place rides along in the lowest bits.
    bits = len(codes).bit_length()
    ordered = np.sort(((rows * texts + codes) << bits) | np.arange(len(codes), dtype=np.int64))
    group, place = ordered >> bits, ordered & ((1 << bits) - 1)
    first = np.r_[True, group[1:] != group[:-1]] if len(group) else np.empty(0, bool)
    distinct = np.bincount((group // texts)[first], minlength=len(reasons)).astype(np.int64)
    before = np.cumsum(distinct) - distinct
    reason_of = np.empty(len(codes), np.int64)
    reason_of[place] = np.cumsum(first) - before[group // texts]
    found = encoded.dictionary.take(pa.array((group % texts)[first]))
    return list_array(found, distinct), list_array(pa.array(reason_of).cast(pa.int16()), lengths)


def _offsets(lists: pa.ListArray) -> pa.Array:
    """Offsets that begin with 0, as a slice's do not."""
    return pa.array(np.r_[0, np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))].astype(np.int32))
