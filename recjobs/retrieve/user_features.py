"""What the user tower is fed with: the names of its inputs, and user states as arrays of them.

The tower hashes text and counts days by itself, so that nothing is encoded twice in two ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns
from recjobs.device_codes import device_code
from recjobs.retrieve.padding import right_padded

ITEM, EVENT_TYPE, TIME = EVENT_FIELDS = ("item", "type", "time")
"""Events of a history, oldest first, padded with 0 on the right: int64[B, H]."""
SIDE_FIELDS = (columns.COUNTRY, columns.REGION, columns.LANGUAGE, columns.AGE_BAND)
"""Text about the user, empty when unknown: string[B]."""
NOW = "now"
"""The time the vector is for, in Unix seconds: int64[B]."""
CATEGORICAL = "categorical"
"""Declared categorical columns, empty when unknown: string[B, C]."""
NUMERIC = "numeric"
"""Declared numeric columns, NaN when unknown: float32[B, N]."""
TOKENS = "tokens"
"""Tokens of text columns, padded with 0 on the right: int64[B, K, T]."""
VECTORS = "vectors"
"""Ready-made vectors, one column after the other, zeros when unknown: float32[B, Σ widths]."""
HOUR = "hour"
"""The hour of the day (UTC) the vector is for, 1…24, 0 when unknown: int64[B]."""
DEVICE = "device"
"""The device the vector is for, as `device_code`, 0 when unknown: int64[B]; in sequences of each event."""
_HISTORY = {ITEM: columns.HISTORY_ITEM, EVENT_TYPE: columns.HISTORY_TYPE, TIME: columns.HISTORY_TIME}
HISTORY_COLUMNS = tuple(_HISTORY.values())
STATE_COLUMNS = (columns.USER, columns.USER_INDEX, *SIDE_FIELDS, *_HISTORY.values())
"""The columns of user states that every tower reads."""


def context_columns(context: Sequence[str]) -> tuple[str, ...]:
    """The columns of user states that the chosen parts of the context are read from."""
    return (columns.USUAL_DEVICE,) if DEVICE in context else ()


@dataclass(frozen=True)
class UserColumns:
    """Further columns of users that the tower reads, in this order; texts of at most `tokens` tokens.

    The vectors of column `vectors[i]` have `widths[i]` numbers.
    """

    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    tokens: int = 0
    vectors: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()

    def state_columns(self) -> tuple[str, ...]:
        """The columns of user states that they are read from."""
        tokens = (columns.tokens_column(name) for name in self.text)
        return (*self.categorical, *self.numeric, *tokens, *self.vectors)

    def inputs(self) -> tuple[str, ...]:
        """The tower's inputs that they make; an input without a column is none."""
        found = {CATEGORICAL: self.categorical, NUMERIC: self.numeric, TOKENS: self.text, VECTORS: self.vectors}
        return tuple(name for name, of in found.items() if of)


NO_COLUMNS = UserColumns()


def list_time(history_until: date) -> int:
    """When lists made from histories until that date are read: the following midnight, in Unix seconds."""
    return int(datetime.combine(history_until + timedelta(days=1), datetime.min.time(), UTC).timestamp())


def tower_inputs(
    users: pl.DataFrame,
    *,
    length: int,
    now: int,
    further: UserColumns = NO_COLUMNS,
    context: Sequence[str] = (),
    device: str | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """The user tower's inputs for each row of `users`, from the last `length` events of its history.

    `context` names parts of the context that the tower reads. The hour of a list's visit is unknown; its device is
    `device`, or without one each user's usual device.
    """
    inputs: dict[str, npt.NDArray[Any]] = {
        field: right_padded(users[column].list.tail(length), np.int64) for field, column in _HISTORY.items()
    }
    for field in SIDE_FIELDS:
        inputs[field] = np.asarray(users[field].fill_null("").to_list(), dtype=object)
    inputs[columns.USER_INDEX] = users[columns.USER_INDEX].to_numpy().astype(np.int64)
    inputs[NOW] = np.full(users.height, now, np.int64)
    if HOUR in context:
        inputs[HOUR] = np.zeros(users.height, np.int64)
    if DEVICE in context:
        inputs[DEVICE] = _devices(users, device)
    return inputs | _further_inputs(users, further)


def _devices(users: pl.DataFrame, device: str | None) -> npt.NDArray[np.int64]:
    if device is not None:
        return np.full(users.height, device_code(device), np.int64)
    return users[columns.USUAL_DEVICE].to_numpy().astype(np.int64)


def _further_inputs(users: pl.DataFrame, further: UserColumns) -> dict[str, npt.NDArray[Any]]:
    made: dict[str, npt.NDArray[Any]] = {}
    if further.categorical:
        texts = [np.asarray(users[name].fill_null("").to_list(), dtype=object) for name in further.categorical]
        made[CATEGORICAL] = np.stack(texts, axis=1)
    if further.numeric:
        numbers = users.select(pl.col(further.numeric).cast(pl.Float32).fill_null(float("nan")))
        made[NUMERIC] = np.ascontiguousarray(numbers.to_numpy())
    if further.text:
        tokens = [_tokens(users[columns.tokens_column(name)], further.tokens) for name in further.text]
        made[TOKENS] = np.stack(tokens, axis=1)
    if further.vectors:
        pairs = zip(further.vectors, further.widths, strict=True)
        made[VECTORS] = np.concatenate([_vectors(users[name], width) for name, width in pairs], axis=1)
    return made


def _vectors(lists: pl.Series, width: int) -> npt.NDArray[np.float32]:
    """float32[rows, width]: each row's vector, zeros for a null."""
    found = np.zeros((lists.len(), width), np.float32)
    known = lists.is_not_null().to_numpy()
    found[known] = lists.drop_nulls().explode().to_numpy().reshape(-1, width)
    return found


def _tokens(lists: pl.Series, width: int) -> npt.NDArray[np.int64]:
    """int64[rows, width]: the first `width` tokens of each row."""
    found = right_padded(lists.list.head(width), np.int64)
    return np.pad(found, ((0, 0), (0, width - found.shape[1])))


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
