"""The lists that belong to no user: similar items by item, popular items by segment."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.columns import ITEM, ITEM_LIST_SCHEMA, SCORE, SEGMENT_LIST_SCHEMA
from recjobs.compose.catalogue import Catalogue
from recjobs.compose.popularity import Popularity
from recjobs.compose.reasons import segment_reasons
from recjobs.ragged import Ints, flat_lists, list_array, rows_of


def similar_lists(similar_uri: str, catalogue: Catalogue) -> tuple[pa.Table, Ints]:
    """`retrieve/search`'s similar items without those that may not be shown, and each list's length.

    One row (`ITEM_LIST_SCHEMA`) for each item there, an unavailable one too (its page still shows what is like it),
    in the same order; neighbours best first.
    """
    with storage.reading(similar_uri) as stream:
        similar = pq.read_table(stream)
    neighbours, lengths = flat_lists(similar.column(columns.SIMILAR_INDEX))
    scores, _ = flat_lists(similar.column(SCORE))
    shown = catalogue.may_show(neighbours)
    kept = np.bincount(rows_of(lengths)[shown], minlength=similar.num_rows).astype(np.int64)
    names = catalogue.item_id.gather(neighbours[shown].astype(np.int32)).to_arrow().cast(pa.string())
    table = pa.table(
        [
            similar.column(ITEM).combine_chunks().cast(pa.string()),
            list_array(names, kept),
            list_array(pa.array(scores[shown], pa.float32()), kept),
        ],
        schema=ITEM_LIST_SCHEMA,
    )
    return table, kept


def segment_lists(popularity: Popularity, catalogue: Catalogue, length: int, *, with_reasons: bool) -> pa.Table:
    """Each segment's most popular items, `length` of them, `all` first (`SEGMENT_LIST_SCHEMA`).

    Where a segment has too few, what is popular overall follows, with score 0: the score is the weight of the
    segment's own events.
    """
    rows = [_segment_row(popularity, catalogue, code, length, with_reasons) for code in range(len(popularity.segments))]
    return pa.Table.from_pylist(rows, SEGMENT_LIST_SCHEMA)


def _segment_row(
    popularity: Popularity, catalogue: Catalogue, code: int, length: int, with_reasons: bool
) -> dict[str, object]:
    own, weights = (part[:length] for part in popularity.of(code))
    overall, _ = popularity.of(0)
    rest = overall[: 2 * length][~np.isin(overall[: 2 * length], own)][: length - len(own)]
    items = np.r_[own, rest]
    name = popularity.segments[code]
    reasons = segment_reasons(name, items, popularity, catalogue, length) if with_reasons else [""] * len(items)
    return {
        columns.SEGMENT: name,
        ITEM: catalogue.item_id.gather(items).to_list(),
        SCORE: np.r_[weights, np.zeros(len(rest))].tolist(),
        columns.REASON: reasons,
    }
