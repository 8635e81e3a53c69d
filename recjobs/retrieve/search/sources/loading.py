"""The sources that are on, ready to score a shard's users, from what was learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from recjobs import columns, storage
from recjobs.retrieve.search.index import Database
from recjobs.retrieve.search.sources.config import SourcesConfig
from recjobs.retrieve.search.sources.cooccurrence import Cooccurrence
from recjobs.retrieve.search.sources.ease import Ease
from recjobs.retrieve.search.sources.fresh import ITEM_COLUMNS, Fresh
from recjobs.retrieve.search.sources.learning import DEMAND, EASE, INTERVAL_DAYS, INTERVALS, SIMILARITIES
from recjobs.retrieve.search.sources.repeat import Repeat
from recjobs.retrieve.search.sources.scores import Scores
from recjobs.retrieve.search.sources.segment import Segment
from recjobs.retrieve.search.sources.users import Users
from recjobs.retrieve.search.vectors import read_table

Positions = npt.NDArray[np.int64]


class Source(Protocol):
    """Scores items for blocks of users."""

    def block(self, users: Users) -> Scores:
        """The scores of `users`."""


@dataclass(frozen=True)
class SourcesTask:
    """Where what was learnt is, and where states are; `weights` by event code; `now` in Unix seconds."""

    folder: str
    users: str
    weights: tuple[float, ...]
    now: int
    settings: SourcesConfig


def load_sources(task: SourcesTask, items_uri: str, database: Database) -> dict[str, Source]:
    """The sources that are on, by name; they propose items of `database` only. `items_uri` holds the item states."""
    items = pl.DataFrame(pl.from_arrow(read_table(items_uri, list(ITEM_COLUMNS))))
    size, weights, settings = len(database.item_index), np.asarray(task.weights, np.float64), task.settings
    position = positions_of(database, items.height)
    similar = partial(_similar, task, position, size)
    made: dict[str, Callable[[], Source]] = {
        "cooccurrence": lambda: Cooccurrence(similar(SIMILARITIES), weights, settings.cooccurrence),
        "repeat": lambda: Repeat(_intervals(task), position, size, weights, task.now, settings.repeat),
        "segment": lambda: Segment(_demand(task), position, size, settings.segment),
        "new": lambda: Fresh(items, position, size, task.now, settings.new),
        "ease": lambda: Ease(similar(EASE), weights, task.now, settings.ease),
    }
    return {name: made[name]() for name in settings.quotas}


def positions_of(database: Database, items: int) -> Positions:
    """Each item index's position in `database`, int64[items + 1]; -1 for an item that is not in it."""
    position = np.full(items + 1, -1, np.int64)
    position[database.item_index] = np.arange(len(database.item_index))
    return position


def _similar(task: SourcesTask, position: Positions, size: int, learnt: str) -> Any:
    """What was learnt of pairs of items: CSR float32[items + 1, size]."""
    rows, at, scores = [], [], []
    for part in storage.list_files(storage.join(task.folder, learnt)):
        table = read_table(part.uri)
        found = position[table[columns.SIMILAR_INDEX].to_numpy()]
        rows.append(table[columns.ITEM_INDEX].to_numpy()[found >= 0])
        scores.append(table[columns.SCORE].to_numpy()[found >= 0])
        at.append(found[found >= 0])
    cells = (np.concatenate(rows), np.concatenate(at).astype(np.int32))
    return sparse.coo_matrix((np.concatenate(scores), cells), shape=(len(position), size)).tocsr()


def _intervals(task: SourcesTask) -> npt.NDArray[np.float64]:
    days = read_table(storage.join(task.folder, INTERVALS), [INTERVAL_DAYS])[INTERVAL_DAYS].to_numpy()
    by_index: npt.NDArray[np.float64] = np.r_[1.0, days]
    return by_index


def _demand(task: SourcesTask) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(read_table(storage.join(task.folder, DEMAND))))
