"""Histories, pairs and counts of the users of one shard, as NumPy and Arrow over all its events at once.

`Timeline` is the shared form: events sorted by user and time, each with its user's position. Every
function returns one value or one list per user, empty for users without events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from recjobs import columns as c
from recjobs.extract.job import end_of
from recjobs.ragged import list_array, places_in_runs

Ints = npt.NDArray[np.int64]
_DAY = 86_400


@dataclass(frozen=True)
class Timeline:
    """Events in canonical order, as arrays of one length."""

    users: int
    """How many users there are; positions are below it."""
    user: Ints
    item: npt.NDArray[np.int32]
    """`item_index`, 0 for an event without an item."""
    code: npt.NDArray[np.int8]
    seconds: Ints
    device: Ints | None = None
    """`device_code`, 0 for an unknown one; None where nobody asks for it."""

    def until(self, day: date) -> Timeline:
        """The events of `day` and before."""
        return self.where(self.seconds < int(end_of(day).timestamp()))

    def with_item(self) -> Timeline:
        """The events that have an item."""
        return self.where(self.item > 0)

    def where(self, kept: npt.NDArray[np.bool_]) -> Timeline:
        """The events of a mask."""
        device = None if self.device is None else self.device[kept]
        return Timeline(self.users, self.user[kept], self.item[kept], self.code[kept], self.seconds[kept], device)

    def per_user(self) -> Ints:
        """How many events each user has."""
        return np.bincount(self.user, minlength=self.users).astype(np.int64)

    def last(self, length: int) -> Timeline:
        """Each user's last `length` events."""
        from_end = self.per_user()[self.user] - places_in_runs(self.user)
        return self.where(from_end <= length)


def timeline(events: pl.DataFrame, users: pl.Series, item_index: pl.DataFrame) -> Timeline:
    """The timeline of `events` (user, item, event code, timestamp; canonical order) over the sorted `users`.

    `item_index` has each item's id and index. Events of other users are left out. Devices, as codes, are taken where
    `events` has them.
    """
    runs = events.select(pl.col(c.USER).rle()).unnest(c.USER)
    positions = users.to_frame(c.USER).with_row_index("position")
    run_positions = runs.join(positions, left_on="value", right_on=c.USER, how="left", maintain_order="left")
    position = np.repeat(run_positions["position"].cast(pl.Int64).fill_null(-1).to_numpy(), runs["len"].to_numpy())
    found = events.select(c.ITEM).join(item_index, on=c.ITEM, how="left", maintain_order="left")
    everything = Timeline(
        users.len(),
        position,
        found[c.ITEM_INDEX].fill_null(0).to_numpy(),
        events[c.EVENT_TYPE].to_numpy(),
        events[c.TIMESTAMP].dt.epoch("s").to_numpy(),
        events[c.DEVICE].to_numpy() if c.DEVICE in events.columns else None,
    )
    return everything.where(position >= 0)


def history_columns(history: Timeline) -> dict[str, pa.Array]:
    """`history_item`, `history_type` and `history_time`, oldest first, of events that all have an item."""
    lengths = history.per_user()
    return {
        c.HISTORY_ITEM: list_array(pa.array(history.item, pa.int32()), lengths),
        c.HISTORY_TYPE: list_array(pa.array(history.code, pa.int8()), lengths),
        c.HISTORY_TIME: list_array(pa.array(history.seconds, pa.int64()), lengths),
    }


def device_column(history: Timeline) -> dict[str, pa.Array]:
    """`history_device`, in step with `history_columns`; the timeline has devices."""
    return {c.HISTORY_DEVICE: list_array(pa.array(history.device, pa.int64()), history.per_user())}


def usual_device(history: Timeline) -> pa.Array:
    """The code of the device that each user has most of `history` from, of equally frequent ones the latest; 0 where
    none is known. The timeline has devices."""
    assert history.device is not None
    found = np.zeros(history.users, np.int64)
    if history.device.any():
        frame = pl.DataFrame({"user": history.user, "device": history.device, "place": np.arange(len(history.user))})
        counted = frame.filter(pl.col("device") > 0).group_by("user", "device").agg(pl.len(), pl.col("place").max())
        most = counted.sort("user", "len", "place").unique("user", keep="last", maintain_order=True)
        found[most["user"].to_numpy()] = most["device"].to_numpy()
    return pa.array(found, pa.int64())


def pair_columns(events: Timeline, limit: int) -> dict[str, pa.Array]:
    """`pair_*`: each user's distinct (item, event type) pairs, latest first; ties by item, then type."""
    frame = pl.DataFrame({"user": events.user, "item": events.item, "type": events.code, "time": events.seconds})
    pairs = (
        frame.group_by("user", "item", "type")
        .agg(pl.len().cast(pl.Int32).alias("count"), pl.col("time").max().alias("last"))
        .sort("user", "last", "item", "type", descending=[False, True, False, False])
    )
    pairs = pairs.filter(pl.Series(places_in_runs(pairs["user"].to_numpy()) < limit))
    lengths = np.bincount(pairs["user"].to_numpy(), minlength=events.users)
    return {
        c.PAIR_ITEM: list_array(pa.array(pairs["item"].to_numpy(), pa.int32()), lengths),
        c.PAIR_TYPE: list_array(pa.array(pairs["type"].to_numpy(), pa.int8()), lengths),
        c.PAIR_COUNT: list_array(pa.array(pairs["count"].to_numpy(), pa.int32()), lengths),
        c.PAIR_LAST: list_array(pa.array(pairs["last"].to_numpy(), pa.int64()), lengths),
    }


def activity_columns(events: Timeline, until: date, longest: int) -> dict[str, pa.Array]:
    """`n_events`, `active_days` in the last `longest` days, `first_event`, `last_event` (null without events)."""
    counts = events.per_user()
    ends = np.cumsum(counts)
    has = counts > 0
    recent = events.where(events.seconds >= _window_start(until, longest))
    new_day = np.r_[True, (np.diff(recent.user) != 0) | (np.diff(recent.seconds // _DAY) != 0)][: len(recent.user)]
    return {
        c.N_EVENTS: pa.array(counts, pa.int32()),
        c.ACTIVE_DAYS: pa.array(np.bincount(recent.user[new_day], minlength=events.users), pa.int32()),
        c.FIRST_EVENT: _times(events.seconds, ends - counts, has),
        c.LAST_EVENT: _times(events.seconds, ends - 1, has),
    }


def _times(seconds: Ints, at: Ints, has: npt.NDArray[np.bool_]) -> pa.Array:
    taken = np.zeros(len(at), np.int64)
    taken[has] = seconds[at[has]]
    return pa.array(taken * 1_000_000, pa.int64(), mask=~has).cast(c.TIME_TYPE)


def count_columns(events: Timeline, until: date, codes: dict[str, int], windows: Sequence[int]) -> dict[str, pa.Array]:
    """`count_{event type}_{d}d`: each user's events of a type in the last `d` days up to `until`."""
    kinds = len(codes) + 1
    found: dict[str, pa.Array] = {}
    for days in windows:
        recent = events.where(events.seconds >= _window_start(until, days))
        table = np.bincount(recent.user * kinds + recent.code, minlength=events.users * kinds).reshape(-1, kinds)
        found |= {c.count_column(name, days): pa.array(table[:, code], pa.int32()) for name, code in codes.items()}
    return {c.count_column(name, days): found[c.count_column(name, days)] for name in codes for days in windows}


def _window_start(until: date, days: int) -> int:
    end: datetime = end_of(until)
    return int(end.timestamp()) - days * _DAY


def usual_price(history: Timeline, prices: npt.NDArray[np.float64]) -> pa.Array:
    """The mean of log1p(price) of the items in each user's history, null where no price is known.

    `prices` has the price of each item index, NaN where it is unknown (index 0 is no item).
    """
    logs = np.log1p(prices[history.item])
    known = ~np.isnan(logs)
    counts = np.bincount(history.user[known], minlength=history.users)
    sums = np.bincount(history.user[known], weights=logs[known], minlength=history.users)
    means = np.divide(sums, counts, out=np.zeros(history.users), where=counts > 0)
    return pa.array(means.astype(np.float32), pa.float32(), mask=counts == 0)
