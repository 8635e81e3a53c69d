from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recjobs import columns
from recjobs.device_codes import device_code
from recjobs.retrieve.user_features import (
    CATEGORICAL,
    DEVICE,
    HOUR,
    ITEM,
    NOW,
    NUMERIC,
    TOKENS,
    VECTORS,
    UserColumns,
    by_history_length,
    context_columns,
    list_time,
    tower_inputs,
)


def states(histories: list[list[int]]) -> pl.DataFrame:
    rows = len(histories)
    return pl.DataFrame(
        {
            columns.USER: [f"u{row}" for row in range(rows)],
            columns.USER_INDEX: pl.Series(range(rows), dtype=pl.Int32),
            columns.COUNTRY: ["GB", *[None] * (rows - 1)][:rows],
            **{name: [None] * rows for name in (columns.REGION, columns.LANGUAGE, columns.AGE_BAND)},
            columns.HISTORY_ITEM: pl.Series(histories, dtype=pl.List(pl.Int32)),
            columns.HISTORY_TYPE: pl.Series([[1] * len(h) for h in histories], dtype=pl.List(pl.Int8)),
            columns.HISTORY_TIME: pl.Series([[5] * len(h) for h in histories], dtype=pl.List(pl.Int64)),
        }
    )


def test_inputs_hold_the_last_events_padded_on_the_right() -> None:
    inputs = tower_inputs(states([[1, 2, 3, 4], [9], []]), length=3, now=7)
    assert inputs[ITEM].tolist() == [[2, 3, 4], [9, 0, 0], [0, 0, 0]]
    assert inputs[columns.COUNTRY].tolist() == ["GB", "", ""]
    assert inputs[NOW].tolist() == [7, 7, 7]


def test_further_columns_are_stacked_in_their_order() -> None:
    users = states([[1], []]).with_columns(
        pl.Series("city", [None, "Rome"]),
        pl.Series("sport", ["golf", None]),
        pl.Series("age", [30, None], dtype=pl.Int64),
        pl.Series("interests_tokens", [[4, 5, 6], []], dtype=pl.List(pl.Int32)),
        pl.Series("bio_tokens", [[], [7]], dtype=pl.List(pl.Int32)),
    )
    further = UserColumns(("city", "sport"), ("age",), ("interests", "bio"), tokens=2)
    inputs = tower_inputs(users, length=3, now=7, further=further, context=["weekday", "hour"])
    assert inputs[CATEGORICAL].tolist() == [["", "golf"], ["Rome", ""]]
    assert inputs[NUMERIC].dtype == np.float32
    assert inputs[NUMERIC][0] == 30
    assert np.isnan(inputs[NUMERIC][1])
    assert inputs[TOKENS].tolist() == [[[4, 5], [0, 0]], [[0, 0], [7, 0]]]
    assert inputs[HOUR].tolist() == [0, 0], "at night nobody knows the hour of the visit"


def test_vectors_stand_side_by_side_and_an_unknown_one_is_zeros() -> None:
    users = states([[1], [], [2]]).with_columns(
        pl.Series("face", [[3.0, 4.0], None, [1.0, 0.0]], dtype=pl.List(pl.Float32)),
        pl.Series("voice", [None, [7.0], None], dtype=pl.List(pl.Float32)),
    )
    further = UserColumns(vectors=("face", "voice"), widths=(2, 1))
    inputs = tower_inputs(users, length=3, now=7, further=further)
    assert inputs[VECTORS].dtype == np.float32
    assert inputs[VECTORS].tolist() == [[3, 4, 0], [0, 0, 7], [1, 0, 0]]
    assert (further.inputs(), further.state_columns()) == ((VECTORS,), ("face", "voice"))


def test_the_device_of_a_list_is_the_users_usual_one_unless_one_is_named() -> None:
    users = states([[1], []]).with_columns(pl.Series(columns.USUAL_DEVICE, [4_000_000_000, 0]))
    assert tower_inputs(users, length=3, now=7, context=["device"])[DEVICE].tolist() == [4_000_000_000, 0]
    named = tower_inputs(states([[1], []]), length=3, now=7, context=["device"], device="phone")
    assert named[DEVICE].tolist() == [device_code("phone")] * 2
    assert (context_columns(["hour"]), context_columns(["device"])) == ((), (columns.USUAL_DEVICE,))


def test_an_input_without_a_column_is_none() -> None:
    assert not {CATEGORICAL, NUMERIC, TOKENS, HOUR, DEVICE} & set(tower_inputs(states([[1]]), length=3, now=7))


def test_lists_are_for_the_day_after_the_histories() -> None:
    assert list_time(date(1970, 1, 1)) == 86_400


@given(st.lists(st.integers(0, 12), max_size=30), st.integers(1, 8), st.integers(1, 300))
def test_batches_hold_every_user_once_within_their_bounds(lengths: list[int], most: int, cells: int) -> None:
    users = states([[1] * length for length in lengths])
    batches = list(by_history_length(users, length=10, most=most, cells=cells))
    assert sorted(np.concatenate(batches).tolist() if batches else []) == list(range(len(lengths)))
    for rows in batches:
        width = max(min(lengths[row], 10) for row in rows)
        assert len(rows) == 1 or (len(rows) <= most and len(rows) * (width + 1) ** 2 <= cells)
