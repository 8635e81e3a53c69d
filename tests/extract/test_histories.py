from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from recjobs.extract import histories
from recjobs.extract.histories import Timeline

DAY = 86_400
LAST = date(1970, 1, 10)
"""Its end is 10 days after the epoch."""


def line(users: int, *rows: tuple[int, int, int, int]) -> Timeline:
    """Rows of (user, item, code, seconds)."""
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Timeline(users, columns[0], columns[1].astype(np.int32), columns[2].astype(np.int8), columns[3])


def test_the_last_events_of_each_user() -> None:
    events = line(3, (0, 1, 1, 5), (0, 2, 1, 6), (0, 3, 1, 7), (2, 4, 1, 1))
    found = histories.history_columns(events.last(2))
    assert found["history_item"].to_pylist() == [[2, 3], [], [4]]
    assert found["history_time"].to_pylist() == [[6, 7], [], [1]]


def test_until_holds_the_whole_day_and_nothing_more() -> None:
    events = line(1, (0, 1, 1, 10 * DAY - 1), (0, 2, 1, 10 * DAY))
    assert events.until(LAST).item.tolist() == [1]


def test_pairs_are_latest_first_with_ties_by_item_then_type() -> None:
    events = line(1, (0, 9, 1, 1), (0, 9, 1, 5), (0, 7, 2, 5), (0, 7, 1, 5), (0, 8, 1, 3))
    found = histories.pair_columns(events, limit=4)
    assert found["pair_item"].to_pylist() == [[7, 7, 9, 8]]
    assert found["pair_type"].to_pylist() == [[1, 2, 1, 1]]
    assert found["pair_count"].to_pylist() == [[1, 1, 2, 1]]
    assert found["pair_last"].to_pylist() == [[5, 5, 5, 3]]
    assert histories.pair_columns(events, limit=1)["pair_item"].to_pylist() == [[7]]


def test_windows_end_with_the_last_day() -> None:
    events = line(2, (0, 1, 1, 7 * DAY - 1), (0, 1, 1, 7 * DAY), (0, 1, 2, 9 * DAY - 1), (0, 1, 2, 9 * DAY))
    found = histories.count_columns(events, LAST, {"view": 1, "buy": 2}, [1, 3])
    assert {name: column.to_pylist() for name, column in found.items()} == {
        "count_view_1d": [0, 0],
        "count_view_3d": [1, 0],
        "count_buy_1d": [1, 0],
        "count_buy_3d": [2, 0],
    }
    activity = histories.activity_columns(events, LAST, 3)
    assert activity["active_days"].to_pylist() == [3, 0]
    assert activity["n_events"].to_pylist() == [4, 0]
    assert activity["last_event"].is_null().to_pylist() == [False, True]


def test_the_usual_price_is_the_mean_log_of_known_prices() -> None:
    prices = np.array([np.nan, 1.0, np.nan, 3.0])
    found = histories.usual_price(line(3, (0, 1, 1, 1), (0, 2, 1, 2), (0, 3, 1, 3), (1, 2, 1, 1)), prices)
    assert found.to_pylist() == [pytest.approx((np.log(2) + np.log(4)) / 2), None, None]


def test_the_usual_device_is_the_most_frequent_of_those_the_latest() -> None:
    rows = line(4, *((user, 1, 1, place) for user in (0, 1, 3) for place in range(4)))
    device = np.array([7, 7, 9, 0, 7, 9, 9, 7, 0, 0, 0, 0])
    found = histories.usual_device(replace(rows, device=device))
    assert found.to_pylist() == [7, 7, 0, 0]
    swapped = np.array([7, 7, 9, 0, 9, 7, 7, 9, 0, 0, 0, 0])
    assert histories.usual_device(replace(rows, device=swapped)).to_pylist() == [7, 9, 0, 0]
    kept = replace(rows, device=device).last(3)
    assert histories.device_column(kept)["history_device"].to_pylist() == [[7, 9, 0], [9, 9, 7], [], [0, 0, 0]]


def test_no_events_at_all() -> None:
    nothing = line(2)
    assert histories.pair_columns(nothing, 5)["pair_item"].to_pylist() == [[], []]
    assert histories.activity_columns(nothing, LAST, 3)["active_days"].to_pylist() == [0, 0]
    assert histories.usual_price(nothing, np.array([np.nan])).to_pylist() == [None, None]
