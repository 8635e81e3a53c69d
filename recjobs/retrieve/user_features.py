"""What the user tower is fed with: the names of its inputs, and user states as arrays of them.

The tower hashes text and counts days by itself, so that nothing is encoded twice in two ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns
from recjobs.retrieve.padding import right_padded

ITEM, EVENT_TYPE, TIME = EVENT_FIELDS = ("item", "type", "time")
"""Events of a history, oldest first, padded with 0 on the right: int64[B, H]."""
SIDE_FIELDS = (columns.COUNTRY, columns.REGION, columns.LANGUAGE, columns.AGE_BAND)
"""Text about the user, empty when unknown: string[B]."""
NOW = "now"
"""The time the vector is for, in Unix seconds: int64[B]."""
_HISTORY = {ITEM: columns.HISTORY_ITEM, EVENT_TYPE: columns.HISTORY_TYPE, TIME: columns.HISTORY_TIME}
STATE_COLUMNS = (columns.USER, columns.USER_INDEX, *SIDE_FIELDS, *_HISTORY.values())
"""The columns of user states that the tower reads."""


def list_time(history_until: date) -> int:
    """When lists made from histories until that date are read: the following midnight, in Unix seconds."""
    return int(datetime.combine(history_until + timedelta(days=1), datetime.min.time(), UTC).timestamp())


def tower_inputs(users: pl.DataFrame, *, length: int, now: int) -> dict[str, npt.NDArray[Any]]:
    """The user tower's inputs for each row of `users`, from the last `length` events of its history."""
    inputs: dict[str, npt.NDArray[Any]] = {
        field: right_padded(users[column].list.tail(length), np.int64) for field, column in _HISTORY.items()
    }
    for field in SIDE_FIELDS:
        inputs[field] = np.asarray(users[field].fill_null("").to_list(), dtype=object)
    inputs[columns.USER_INDEX] = users[columns.USER_INDEX].to_numpy().astype(np.int64)
    inputs[NOW] = np.full(users.height, now, np.int64)
    return inputs


def by_history_length(users: pl.DataFrame, *, length: int, most: int, cells: int) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers in batches of users with similarly long histories, the longest first.

    A batch has at most `most` users and users × (width + 1)² ≤ `cells`, but always one user: attention's
    memory grows with the square of the width.
    """
    widths = np.minimum(users[columns.HISTORY_ITEM].list.len().to_numpy().astype(np.int64), length)
    order = np.argsort(-widths, kind="stable").astype(np.int64)
    start = 0
    while start < len(order):
        fits = cells // int(widths[order[start]] + 1) ** 2
        stop = start + max(1, min(most, fits))
        yield order[start:stop]
        start = stop
