"""What a user did with an item, its category and its brand, looked up for many pairs at once.

A table of (user, thing) keys is sorted once per shard; pairs find their row by binary search.
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


@dataclass(frozen=True)
class KeyTable:
    """Rows found by (user, thing): `keys` sorted, `values` float32[len(keys) + 1, V], the last row all 0."""

    keys: Keys
    things: int
    values: FloatArray

    def find(self, user: Keys, thing: Keys) -> FloatArray:
        """The rows of these pairs, float32[len(user), V]; zeros where there is none."""
        if not len(self.keys):
            return np.zeros((len(user), self.values.shape[1]), np.float32)
        wanted = user * self.things + thing
        position = np.searchsorted(self.keys, wanted)
        position[self.keys[np.minimum(position, len(self.keys) - 1)] != wanted] = len(self.keys)
        return self.values[position]


@dataclass(frozen=True)
class PairHistory:
    """How often and how recently a user met an item: by event type, and all types together."""

    table: KeyTable
    visits: Visits

    def features(self, user: Keys, item: Keys, event_types: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
        """By event type: log1p of the count, and freshness at two scales; 0 where it never happened. Of all types
        together, how that fits into the user's visits."""
        found = self.table.find(user, item)
        names = (
            name
            for kind in event_types
            for name in (f"log_pair_{kind}", f"pair_{kind}_fresh_1d", f"pair_{kind}_fresh_30d")
        )
        by_type = {name: found[:, column] for column, name in enumerate(names)}
        return by_type | self.visits.pair_features(user, found[:, -2], found[:, -1])


def pair_history(users: UserShard, items: int, types: int, now: int) -> PairHistory:
    """The users' (item, event type) pairs as a table with three columns per event type, then all events and days
    since the last; items < `items`."""
    keys, row = np.unique(users.pair_item.rows() * items + users.pair_item.values, return_inverse=True)
    values = np.zeros((len(keys) + 1, types, 3), np.float32)
    column = users.pair_type.astype(np.int64) - 1
    days = np.maximum(now - users.pair_last, 0) / SECONDS_PER_DAY
    values[row, column, 0] = np.log1p(users.pair_count)
    values[row, column, 1] = freshness(days, SHORT_SCALE)
    values[row, column, 2] = freshness(days, LONG_SCALE)
    whole = np.zeros((len(keys) + 1, 2), np.float32)
    np.add.at(whole[:, 0], row, users.pair_count)
    whole[:-1, 1] = np.inf
    np.minimum.at(whole[:, 1], row, days.astype(np.float32))
    table = np.concatenate([values.reshape(len(keys) + 1, -1), whole], axis=1)
    return PairHistory(KeyTable(keys, items, table), visits_of(users, now))


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
    keys, row = np.unique(user[known] * things + thing[known], return_inverse=True)
    events = np.bincount(row, counts[known], minlength=len(keys))
    latest = np.zeros(len(keys), np.int64)
    np.maximum.at(latest, row, users.pair_last[known])
    values = np.zeros((len(keys) + 1, 3), np.float32)
    values[:-1, 0] = events / total[keys // things]
    values[:-1, 1] = np.log1p(events)
    values[:-1, 2] = freshness(np.maximum(now - latest, 0) / SECONDS_PER_DAY, SHORT_SCALE)
    return Affinity(KeyTable(keys, things, values))


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
