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
from recjobs.rank.visits import Visits, visits_of

Keys = npt.NDArray[np.int64]
SHORT_SCALE, LONG_SCALE = 1.0, 30.0
"""Days at which freshness has fallen to a half: one for today's session, one for the month."""


_SLOTS_LIMIT = 1 << 20
"""Up to this many (user, thing) there is a place for each, which needs neither sorting nor searching."""


@dataclass(frozen=True)
class KeyTable:
    """Rows found by (user, thing): `keys` sorted, `values` float32[len(keys) + 1, V], the last for other keys.

    `slots` int32[users * things], where they are not too many: the row of each key that could be.
    """

    keys: Keys
    things: int
    values: FloatArray
    slots: npt.NDArray[np.int32] | None = None

    def find(self, user: Keys, thing: Keys) -> FloatArray:
        """The rows of these pairs, float32[len(user), V]; the last row where there is none."""
        return self.values.take(self.position(user, thing), axis=0)

    def position(self, user: Keys, thing: Keys) -> npt.NDArray[np.integer]:
        """The row of each pair in `values`; len(keys) where there is none."""
        wanted = user * self.things + thing
        if not len(self.keys):
            return np.zeros(len(wanted), np.int64)
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
    """How often and how recently a user met an item: by event type, and all types together.

    `table` has a row for each user and item that met: per event type its count, then per type the days since the
    last (infinite where never), then all events and the days since the last of any.
    """

    table: KeyTable
    event_types: tuple[str, ...]
    visits: Visits

    def features(self, user: Keys, item: Keys) -> dict[str, npt.NDArray[Any]]:
        """By event type: log1p of the count, and freshness at two scales; 0 where it never happened. Of all types
        together, how that fits into the user's visits.

        Only pairs that met are worked at: among the candidates they are few.
        """
        position = self.table.position(user, item)
        met = np.flatnonzero(position < len(self.table.keys))
        told = self._told(user[met], self.table.values.take(position[met], axis=0))
        wide = np.zeros((len(told), len(user)), np.float32)
        for row, values in zip(wide, told.values(), strict=True):
            row[met] = values
        never = np.ones(len(user), np.float32)
        never[met] = 0.0
        return dict(zip(told, wide, strict=True)) | self.visits.unmet_features(user, never)

    def _told(self, user: Keys, found: FloatArray) -> dict[str, npt.NDArray[Any]]:
        types = len(self.event_types)
        told: dict[str, npt.NDArray[Any]] = {}
        for place, kind in enumerate(self.event_types):
            count, days = found[:, place], found[:, types + place]
            told[f"log_pair_{kind}"] = np.log1p(count)
            told[f"pair_{kind}_fresh_1d"] = freshness(days, SHORT_SCALE)
            told[f"pair_{kind}_fresh_30d"] = freshness(days, LONG_SCALE)
        return told | self.visits.pair_features(user, found[:, -2], found[:, -1])


def pair_history(users: UserShard, items: int, event_types: tuple[str, ...], now: int) -> PairHistory:
    """The users' (item, event type) pairs as a table; items < `items`."""
    keyed = _keyed(users.pair_item.rows(), users.pair_item.values.astype(np.int64), len(users), items)
    keys, row, types = keyed.keys, keyed.row, len(event_types)
    column = users.pair_type.astype(np.int64) - 1
    days = (np.maximum(now - users.pair_last, 0) / SECONDS_PER_DAY).astype(np.float32)
    values = np.zeros((len(keys) + 1, 2 * types + 2), np.float32)
    values[:, types:] = np.inf
    values[row, column] = users.pair_count
    values[row, types + column] = days
    values[:, -2] = values[:, :types].sum(axis=1)
    values[:, -1] = values[:, types : 2 * types].min(axis=1)
    return PairHistory(KeyTable(keys, items, values, keyed.slots), event_types, visits_of(users, now))


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
