"""Item-to-item co-occurrence in sequences: what followed or accompanied what the user had (item-KNN over sequences).

A user's events are paired with the next `reach` ones. A pair that lies d moments apart (events at one time are one
moment, a basket say) says 1/d for the later item given the earlier one, and `backward` as much for the earlier given
the later; within a moment both ways are whole. With c(a, b) the sum over users and n the number of events,

    similarity(a → b) = c(a, b) / ((n(a) + s)^damping_from × (n(b) + s)^damping_to),

so that popular items neither drown the others nor vanish. A user's score of an item is the sum over the user's latest
pairs of event weight × recency^moments × similarity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recjobs.ragged import Ints, places, places_in_runs
from recjobs.retrieve.search.sources.config import CooccurrenceConfig
from recjobs.retrieve.search.sources.scores import SparseScores, csr
from recjobs.retrieve.search.sources.users import Users

_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Sequences:
    """Events with an item, user by user, oldest first: `user`, `item` (item index) and `time`, int64 each."""

    user: Ints
    item: Ints
    time: Ints

    def __len__(self) -> int:
        return len(self.user)

    def latest(self, longest: int) -> Sequences:
        """Each user's last `longest` events."""
        keep = places_in_runs(self.user[::-1])[::-1] < longest
        return Sequences(self.user[keep], self.item[keep], self.time[keep])


def pair_weights(events: Sequences, items: int, settings: CooccurrenceConfig) -> Any:
    """c: CSR float64[items + 1, items + 1], rows the item that was had, columns the item it speaks for."""
    events = events.latest(settings.longest)
    total = sparse.csr_matrix((items + 1, items + 1), dtype=np.float64)
    for earlier, later, apart in _pairs(events, settings.reach):
        weight = 1.0 / np.maximum(apart, 1)
        back = np.where(apart > 0, settings.backward * weight, weight)
        cells = (np.concatenate([earlier, later]), np.concatenate([later, earlier]))
        total = total + sparse.coo_matrix((np.concatenate([weight, back]), cells), shape=total.shape).tocsr()
    total.eliminate_zeros()
    return total


def _pairs(events: Sequences, reach: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Pairs of different items of a user, by how many events apart: earlier, later, moments between."""
    moment = _moments(events)
    for step in range(1, min(reach, len(events) - 1) + 1):
        first = np.flatnonzero(events.user[step:] == events.user[:-step])
        if not len(first):
            return
        first = first[events.item[first] != events.item[first + step]]
        yield events.item[first], events.item[first + step], moment[first + step] - moment[first]


def _moments(events: Sequences) -> Ints:
    """Numbers that rise by one from a user's moment to the next."""
    if not len(events):
        return np.zeros(0, np.int64)
    later = (events.user[1:] != events.user[:-1]) | (events.time[1:] != events.time[:-1])
    moments: Ints = np.r_[0, np.cumsum(later)].astype(np.int64)
    return moments


def neighbours(weights: Any, events: npt.NDArray[np.float64], settings: CooccurrenceConfig) -> tuple[Any, Any, Any]:
    """The most similar items of each row of c: row, column and similarity float32, by row, best first, ties by column.

    `events` float64[items + 1] is n; at most `neighbours` a row.
    """
    weights.sum_duplicates()
    cells = weights.tocoo()
    known = events + settings.shrinkage
    with np.errstate(divide="ignore"):
        scale_from, scale_to = known**-settings.damping_from, known**-settings.damping_to
    score = (cells.data * scale_from[cells.row] * scale_to[cells.col]).astype(np.float32)
    # The bits of a float32 that is not negative are in its order; CSR's columns ascend, and the sort keeps ties.
    keys = (cells.row.astype(np.int64) << 32) | (_LARGEST - score.view(np.int32))
    order = np.argsort(keys, kind="stable")
    kept = order[places_in_runs(cells.row[order]) < settings.neighbours]
    return cells.row[kept], cells.col[kept], score[kept]


class Cooccurrence:
    """Scores items by what the user had last."""

    def __init__(self, similarity: Any, weights: npt.NDArray[np.float64], settings: CooccurrenceConfig) -> None:
        """`similarity` CSR float32[items + 1, N], columns positions in what is searched; `weights` by event code."""
        self._similarity, self._weights, self._settings = similarity, weights, settings

    def block(self, users: Users) -> SparseScores:
        """The scores of `users`."""
        chosen = places(users.lengths) < self._settings.events
        rows, item = users.rows()[chosen], users.item[chosen]
        says = self._weights[users.kind[chosen]] * self._settings.recency ** _moments_back(rows, users.last[chosen])
        history = csr(says, rows, item, (len(users), self._similarity.shape[0]))
        return SparseScores((history @ self._similarity).astype(np.float32))


def _moments_back(rows: npt.NDArray[Any], last: Ints) -> npt.NDArray[np.float64]:
    """How many moments lie between each pair and its user's latest one; pairs stand latest first."""
    if not len(rows):
        return np.zeros(0)
    new_user = rows[1:] != rows[:-1]
    moment = np.r_[0, np.cumsum(new_user | (last[1:] != last[:-1]))]
    starts = np.flatnonzero(np.r_[True, new_user])
    back: npt.NDArray[np.float64] = moment - np.repeat(moment[starts], np.diff(np.r_[starts, len(rows)]))
    return back.astype(np.float64)
