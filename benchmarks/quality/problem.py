"""What a baseline may see of a case, and the truth it is judged by, as arrays.

U users (rows of `extract`'s `users/`, part after part), I items. Items are columns 1…I; 0 is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from benchmarks.quality.cases import Case
from recjobs import columns as c
from recjobs.evaluate.items import Items
from recjobs.evaluate.judging import judged_items
from recjobs.evaluate.outcomes import outcomes_from_sources
from recjobs.manifest import Manifest
from recjobs.settings import Settings

Ints = npt.NDArray[np.int64]
T = TypeVar("T")
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Events:
    """Events with an item, by user, then time; ties as `extract` left them. Arrays of one length."""

    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    time: Ints
    """Unix seconds."""


@dataclass(frozen=True)
class Truth:
    """The distinct outcomes of users with a list, by user: row and item, 0 for an item unknown at the lists' date."""

    row: Ints
    item: Ints


@dataclass(frozen=True)
class Problem:
    """One case. `name` tells two problems apart."""

    name: str
    users: pl.Series
    items: Items
    trained: Events
    """What models may learn from."""
    history: Events
    """What is known of the users when the lists are made."""
    now: int
    """The end of `history_until`, in Unix seconds."""
    truth: Truth
    _made: dict[str, tuple[Any, Any]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, what: str, key: Any, make: Callable[[], T]) -> T:
        """What `make` gives; the last of each `what` is kept and given again for an equal `key`."""
        if what not in self._made or self._made[what][0] != key:
            self._made.pop(what, None)
            self._made[what] = (key, make())
        made: T = self._made[what][1]
        return made

    @property
    def shape(self) -> tuple[int, int]:
        """(U, I + 1)."""
        return len(self.users), self.items.size + 1

    def matrix(self, events: Events) -> sparse.csr_matrix:
        """float32[U, I + 1] with 1 where the user had an event with the item."""
        return counted(events.user, events.item, None, self.shape).sign().astype(np.float32)

    @cached_property
    def known(self) -> sparse.csr_matrix:
        """`matrix` of the history."""
        return self.matrix(self.history)


def counted(
    rows: npt.NDArray[np.integer],
    items: npt.NDArray[np.integer],
    weights: npt.NDArray[np.floating] | None,
    shape: tuple[int, int],
) -> sparse.csr_matrix:
    """The sums of `weights` (1 each by default) by row and item, float64."""
    values = np.ones(len(rows)) if weights is None else weights.astype(np.float64)
    return sparse.coo_matrix((values, (rows, items)), shape).tocsr()


def load_problem(extract: Manifest, settings: Settings, case: Case) -> Problem:
    """The case whose states and canonical events `extract` holds; outcomes come from the sources."""
    users = pl.concat(
        [pl.read_parquet(part.uri, columns=[c.USER])[c.USER].cast(pl.String) for part in extract.parts("users")]
    )
    items = judged_items(extract, settings)
    events = _events(extract, users, items)
    outcomes = outcomes_from_sources(settings, case.ds, case.until)
    return Problem(
        name=extract.run,
        users=users,
        items=items,
        trained=_until(events, extract.cutoffs.train_until),
        history=_until(events, extract.cutoffs.history_until),
        now=_end_of(extract.cutoffs.history_until),
        truth=truth_of(outcomes, users, items),
    )


def truth_of(outcomes: pl.DataFrame, users: pl.Series, items: Items) -> Truth:
    """`outcomes` (`user_id`, `item_id`) of `users`."""
    distinct = outcomes.select(c.USER, c.ITEM).unique().join(_rows(users), on=c.USER).sort("row", c.ITEM)
    return Truth(distinct["row"].to_numpy().astype(np.int64), items.indexes(distinct[c.ITEM]).astype(np.int64))


def _rows(users: pl.Series) -> pl.DataFrame:
    return users.alias(c.USER).to_frame().with_row_index("row")


def _events(extract: Manifest, users: pl.Series, items: Items) -> Events:
    names = [c.USER, c.ITEM, c.TIMESTAMP]
    frame = pl.concat([pl.read_parquet(part.uri, columns=names) for part in extract.parts("events")])
    known = frame.drop_nulls(c.ITEM).with_columns(pl.col(c.USER).cast(pl.String)).join(_rows(users), on=c.USER)
    ordered = known.with_row_index("place").sort("row", c.TIMESTAMP, "place")
    return Events(
        ordered["row"].to_numpy().astype(np.int32),
        items.indexes(ordered[c.ITEM].cast(pl.String)),
        ordered[c.TIMESTAMP].dt.epoch("s").to_numpy(),
    )


def _until(events: Events, day: date) -> Events:
    kept = events.time < _end_of(day)
    return Events(events.user[kept], events.item[kept], events.time[kept])


def _end_of(day: date) -> int:
    return int(datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).timestamp())
