"""Packing: what is stored of a list is what compose wrote, whatever ids and reasons look like."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs import columns
from recjobs.errors import PublishError
from recjobs.publish.packing import packed
from recjobs.publish.tables import USERS

IDS = st.text(st.characters(exclude_characters=columns.SEPARATOR, exclude_categories=["Cs"]), min_size=1, max_size=6)
LISTS = st.lists(
    st.lists(st.tuples(IDS, st.sampled_from(["new", "because you bought tea", ""])), max_size=7), max_size=9
)


def batch_of(lists: list[list[tuple[str, str]]]) -> pa.RecordBatch:
    rows = [
        {
            columns.USER: f"u{row}",
            columns.ITEM: [item for item, _ in one],
            columns.SCORE: [1 / (place + 1) for place in range(len(one))],
            columns.REASON: [reason for _, reason in one],
            columns.REGIME: columns.WARM,
        }
        for row, one in enumerate(lists)
    ]
    return pa.RecordBatch.from_pylist(rows, columns.LIST_SCHEMA)


def unpacked(stored: pa.RecordBatch) -> list[list[tuple[str, str]]]:
    return [
        list(
            zip(
                row["items"].split(columns.SEPARATOR) if row["items"] else [],
                [row["reasons"][place - 1] for place in np.frombuffer(row["reason_of"], ">u2")],
                strict=True,
            )
        )
        for row in stored.to_pylist()
    ]


@settings(max_examples=200)
@given(LISTS, st.integers(0, 3))
def test_every_item_keeps_its_place_and_its_reason(lists: list[list[tuple[str, str]]], start: int) -> None:
    stored = packed(USERS, "home", batch_of(lists).slice(start))
    assert unpacked(stored) == lists[start:]
    assert [len(row["reasons"]) for row in stored.to_pylist()] == [len({r for _, r in one}) for one in lists[start:]]
    assert stored.column("scores").to_pylist() == batch_of(lists).column(columns.SCORE).to_pylist()[start:]
    assert stored.column("user_id").to_pylist() == [f"u{row}" for row in range(start, len(lists))]


def test_an_id_with_the_separator_is_refused() -> None:
    with pytest.raises(PublishError, match=r"an id holds the separator U\+001F"):
        packed(USERS, "home", batch_of([[("a\x1fb", "new")]]))


def test_lists_of_different_lengths_are_refused() -> None:
    batch = batch_of([[("a", "new"), ("b", "new")]])
    short = batch.set_column(3, columns.REASON, pa.array([["new"]]))
    with pytest.raises(PublishError, match="differ in length"):
        packed(USERS, "home", short)


def test_a_null_in_a_list_is_refused() -> None:
    batch = batch_of([[("a", "new"), ("b", "new")]])
    with pytest.raises(PublishError, match="column items: 1 nulls"):
        packed(USERS, "home", batch.set_column(1, columns.ITEM, pa.array([["a", None]])))
    with pytest.raises(PublishError, match="column reasons: nulls"):
        packed(USERS, "home", batch.set_column(3, columns.REASON, pa.array([["new", None]])))
