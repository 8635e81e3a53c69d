"""What a user did with an item, its category and its brand, looked up for many pairs at once.

A table of (user, thing) keys is made once for some users; pairs find their row in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs.rank.block import FloatArray
from recjobs.rank.encodings import SECONDS_PER_DAY, freshness
from recjobs.rank.states import UserShard

Keys = npt.NDArray[np.int64]
SHORT_SCALE, LONG_SCALE = 1.0, 30.0
"""Days at which freshness has fallen to a half: one for today's session, one for the month."""


_SLOTS_LIMIT = 1 << 20
"""Up to this many (user, thing) there is a place for each, which needs neither sorting nor searching."""


@dataclass(frozen=True)
class KeyTable:
    """Rows found by (user, thing): `keys` sorted, `values` float32[len(keys) + 1, V], the last row all 0.

    `slots` int32[users * things], where they are not too many: the row of each key that could be.
    """

    keys: Keys
    things: int
    values: FloatArray
    slots: npt.NDArray[np.int32] | None = None

    def find(self, user: Keys, thing: Keys) -> FloatArray:
        """The rows of these pairs, float32[len(user), V]; zeros where there is none."""
        if not len(self.keys):
            return np.zeros((len(user), self.values.shape[1]), np.float32)
        return self.values.take(self._position(user * self.things + thing), axis=0)

    def _position(self, wanted: Keys) -> npt.NDArray[np.integer]:
        if self.slots is not None:
            return self.slots.take(wanted)
        position = np.searchsorted(self.keys, wanted)
        position[self.keys[np.minimum(position, len(self.keys) - 1)] != wanted] = len(self.keys)
        return position


@dataclass(frozen=True)
class _Keyed:
    """Distinct keys, sorted; the row of each key given; and `KeyTable.slots`."""

    keys: Keys
    row: npt.NDArray[np.integer]
    slots: npt.NDArray[np.int32] | None


def _keyed(user: Keys, thing: Keys, users: int, things: int) -> _Keyed:
    given, cells = user * things + thing, users * things
    if cells > _SLOTS_LIMIT:
        keys, row = np.unique(given, return_inverse=True)
        return _Keyed(keys, row, None)
    seen = np.zeros(cells, np.bool_)
    seen[given] = True
    keys = np.flatnonzero(seen)
    slots = np.full(cells, len(keys), np.int32)
    slots[keys] = np.arange(len(keys), dtype=np.int32)
    return _Keyed(keys, slots[given], slots)


@dataclass(frozen=True)
class PairHistory:
    """How often and how recently a user met an item, by event type."""

    table: KeyTable

    def features(self, user: Keys, item: Keys, event_types: tuple[str, ...]) -> dict[str, FloatArray]:
        """By event type: log1p of the count, and freshness at two scales; 0 where it never happened."""
        found = self.table.find(user, item)
        names = (
            name
            for kind in event_types
            for name in (f"log_pair_{kind}", f"pair_{kind}_fresh_1d", f"pair_{kind}_fresh_30d")
        )
        return {name: found[:, column] for column, name in enumerate(names)}


def pair_history(users: UserShard, items: int, types: int, now: int) -> PairHistory:
    """The users' (item, event type) pairs as a table with three columns per event type; items < `items`."""
    keyed = _keyed(users.pair_item.rows(), users.pair_item.values.astype(np.int64), len(users), items)
    keys, row = keyed.keys, keyed.row
    values = np.zeros((len(keys) + 1, types, 3), np.float32)
    column = users.pair_type.astype(np.int64) - 1
    days = np.maximum(now - users.pair_last, 0) / SECONDS_PER_DAY
    values[row, column, 0] = np.log1p(users.pair_count)
    values[row, column, 1] = freshness(days, SHORT_SCALE)
    values[row, column, 2] = freshness(days, LONG_SCALE)
    return PairHistory(KeyTable(keys, items, values.reshape(len(keys) + 1, -1), keyed.slots))


@dataclass(frozen=True)
class Affinity:
    """A user's leaning to things such as categories."""

    table: KeyTable

    def features(self, user: Keys, thing: Keys, name: str) -> dict[str, FloatArray]:
        """Share of the user's events on `thing`, log1p of their number, and freshness; 0 for the unknown thing."""
        found = self.table.find(user, thing)
        return {f"{name}_share": found[:, 0], f"log_{name}": found[:, 1], f"{name}_fresh": found[:, 2]}


def affinity(users: UserShard, thing_of: Keys, things: int, now: int) -> Affinity:
    """Each user's events by thing; `thing_of` int64[items] maps an item to its thing, 0 meaning unknown."""
    user, thing = users.pair_item.rows(), thing_of[users.pair_item.values]
    counts = users.pair_count.astype(np.float64)
    total = np.bincount(user, counts, minlength=len(users))
    known = thing > 0
    keyed = _keyed(user[known], thing[known], len(users), things)
    keys, row = keyed.keys, keyed.row
    events = np.bincount(row, counts[known], minlength=len(keys))
    latest = np.zeros(len(keys), np.int64)
    np.maximum.at(latest, row, users.pair_last[known])
    values = np.zeros((len(keys) + 1, 3), np.float32)
    values[:-1, 0] = events / total[keys // things]
    values[:-1, 1] = np.log1p(events)
    values[:-1, 2] = freshness(np.maximum(now - latest, 0) / SECONDS_PER_DAY, SHORT_SCALE)
    return Affinity(KeyTable(keys, things, values, keyed.slots))


@dataclass(frozen=True)
class LastItems:
    """The last item of each user's history, int64[users]; 0 for none."""

    item: npt.NDArray[Any]


def last_items(users: UserShard) -> LastItems:
    """From the histories, which are stored oldest first."""
    history = users.history_item
    some = history.lengths > 0
    last = np.zeros(len(users), np.int64)
    last[some] = history.values[history.offsets[1:][some] - 1]
    return LastItems(last)
