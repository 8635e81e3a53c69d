"""A user's rhythm: how often they come, how much they take, and how an item they had fits into it.

A visit is a day with an event. The states keep of each (item, event type) how often and when last, so visits are
counted from below: days on which something was had last, or how often the most frequent thing was had.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recjobs import columns
from recjobs.rank.block import FloatArray
from recjobs.rank.encodings import SECONDS_PER_DAY, days_before, freshness
from recjobs.rank.states import UserShard

_SCALE = 30.0
_HALF_LIVES = (30.0, 120.0)
_SHORTEST_INTERVAL = 7.0
"""Days added to a user's interval: one who came twice in a week is not due every other day."""


@dataclass(frozen=True)
class Visits:
    """float32[users] each; `idle` and `interval` in days, NaN where there was no visit or only one."""

    number: FloatArray
    basket: FloatArray
    """Events a visit."""
    explorer: FloatArray
    """Share of the user's events that were the first with their item; 0 where there is none."""
    idle: FloatArray
    """Since the last event."""
    interval: FloatArray
    """Between two visits."""

    def user_features(self) -> dict[str, FloatArray]:
        """What is told of a user."""
        return {
            "log_visits": np.log1p(self.number),
            "log_basket": np.log1p(self.basket),
            "explorer_rate": self.explorer,
            "log_interval": np.log1p(self.interval),
            "user_due": freshness(self.idle / (self.interval + _SHORTEST_INTERVAL), 1.0),
        }

    def pair_features(
        self, user: npt.NDArray[np.int64], count: FloatArray, days: FloatArray
    ) -> dict[str, npt.NDArray[np.floating]]:
        """What `count` events with an item, the last one `days` ago, are in the user's rhythm.

        0 each for an item that was never had; of those, `unmet_features` tells.
        """
        gap = np.maximum(days - self.idle[user], 0.0)
        share = np.minimum(count / np.maximum(self.number[user], 1.0), 1.0)
        decayed = {f"pair_decayed_{int(life)}d": count * 0.5 ** (days / life) for life in _HALF_LIVES}
        return {
            "in_last_visit": (gap < 1.0).astype(np.float32),
            "visit_gap_fresh": freshness(gap, _SCALE),
            "visit_share": share,
            "visit_share_fresh": share * freshness(gap, _SCALE),
            "pair_due": freshness(days / (self.interval[user] + _SHORTEST_INTERVAL), 1.0),
            "log_pair_days": np.log1p(days),
            **{name: np.log1p(values) for name, values in decayed.items()},
        }

    def unmet_features(self, user: npt.NDArray[np.int64], never: FloatArray) -> dict[str, npt.NDArray[np.floating]]:
        """Whether the item is new to the user (`never`: 1 or 0), and what new things are to them; 0 if it is not."""
        return {"never_had": never, "never_had_explorer": never * self.explorer[user]}


def visits_of(users: UserShard, now: int) -> Visits:
    """The visits of the users until the Unix second `now`; rows as in `users`."""
    row, size = users.pair_item.rows(), len(users)
    day = users.pair_last // SECONDS_PER_DAY
    days, things = _distinct(row, day), _distinct(row, users.pair_item.values)
    most, some = np.zeros(size), users.pair_item.lengths > 0
    if len(row):
        most[some] = np.maximum.reduceat(users.pair_count, users.pair_item.offsets[:-1][some])
    number = np.maximum(np.bincount(days, minlength=size), most)
    events = np.bincount(row, users.pair_count, minlength=size)
    idle, tenure = (days_before(now, users.scalars[name]) for name in (columns.LAST_EVENT, columns.FIRST_EVENT))
    between = np.where(number > 1, number - 1, np.nan)
    return Visits(
        number=number.astype(np.float32),
        basket=(events / np.maximum(number, 1.0)).astype(np.float32),
        explorer=(np.bincount(things, minlength=size) / np.maximum(events, 1.0)).astype(np.float32),
        idle=idle,
        interval=((tenure - idle) / between).astype(np.float32),
    )


def _distinct(row: npt.NDArray[np.int64], value: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The row of each distinct (row, value)."""
    least = int(value.min(initial=0))
    width = int(value.max(initial=0)) - least + 1
    keys = np.sort(row * width + (value.astype(np.int64) - least))
    found: npt.NDArray[np.int64] = keys[np.diff(keys, prepend=-1) != 0] // width
    return found
