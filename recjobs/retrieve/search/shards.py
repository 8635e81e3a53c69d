"""The two passes over users, a shard at a time: states to vectors, vectors to candidates.

Elements are names of part files; a worker loads the tower or the index once and holds one shard at
a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa

from recjobs import columns, storage
from recjobs.passes import Record, run_pass
from recjobs.pipeline import BeamConfig
from recjobs.retrieve.search.index import Effort, Found, Searcher, exact_searcher, load_index
from recjobs.retrieve.search.towers import Tower, TowerFacts, user_vectors
from recjobs.retrieve.search.vectors import list_column, matrix, read_database, read_table, write_table
from recjobs.retrieve.user_features import STATE_COLUMNS

TOWERS = columns.SOURCES.index("towers")
_CHECKED_USERS = 1000
"""Users of a shard whose candidates are checked for duplicates; sorting all would cost as much as the search."""
_COUNTS = ("users", "refilled", "duplicates")


@dataclass(frozen=True)
class EmbedTask:
    """Where the user tower and the states are, where vectors go, and for what time they are."""

    tower: str
    users: str
    vectors: str
    facts: TowerFacts
    now: int


@dataclass(frozen=True)
class SearchTask:
    """Where vectors, items and the index are, where candidates go; `effort` is None for exact search."""

    user_vectors: str
    item_vectors: str
    items: str
    index: str
    candidates: str
    k: int
    effort: Effort | None


def embed_users(task: EmbedTask, parts: Sequence[str], config: BeamConfig) -> dict[str, int]:
    """Writes a vectors part for each part of states. Returns the number of `users`.

    Raises:
        ModelError: the tower can't be loaded, or a vector is not finite.
        MissingInputError: the tower or a part is not there.
    """
    records = run_pass(config, "user vectors", parts, partial(_embedder, task), storage.join(task.vectors, ".pass"))
    return {"users": sum(record["users"] for record in records)}


def search_users(task: SearchTask, parts: Sequence[str], config: BeamConfig) -> dict[str, int]:
    """Writes a candidates part for each part of vectors.

    Returns the number of `users`, of users `refilled` exactly, and of `duplicates` among the users checked.

    Raises:
        ModelError: no item is available.
        MissingInputError: the index or a part is not there.
    """
    scratch = storage.join(task.candidates, ".pass")
    records = run_pass(config, "candidates", parts, partial(_candidate_finder, task), scratch)
    return {name: sum(record[name] for record in records) for name in _COUNTS}


def embed_shard(tower: Tower, users: pl.DataFrame, task: EmbedTask) -> pa.Table:
    """`user_id` and `vector` of one shard's users, in their order."""
    vectors = user_vectors(tower, users, task.facts, task.now)
    return pa.table(
        {columns.USER: users[columns.USER].to_arrow().cast(pa.string()), columns.VECTOR: list_column(vectors)}
    )


def candidates_table(users: pa.ChunkedArray, found: Found) -> pa.Table:
    """One shard's candidates in `CANDIDATE_SCHEMA`."""
    source = np.full(found.item_index.shape, TOWERS, np.int8)
    lists = [list_column(values) for values in (found.item_index, found.score, source)]
    return pa.Table.from_arrays([users, *lists], schema=columns.CANDIDATE_SCHEMA)


def duplicate_users(found: Found) -> int:
    """How many of the first users have an item twice."""
    ordered = np.sort(found.item_index[:_CHECKED_USERS], axis=1)
    return int((ordered[:, 1:] == ordered[:, :-1]).any(axis=1).sum())


def _embedder(task: EmbedTask) -> Callable[[str], Record]:
    # A tower is in memory once loaded: a copy of its folder need not stay.
    with storage.local_folder(task.tower) as folder:
        return partial(_embed_part, task, Tower(folder))


def _embed_part(task: EmbedTask, tower: Tower, part: str) -> Record:
    with storage.reading(storage.join(task.users, part)) as stream:
        users = pl.read_parquet(stream, columns=[*STATE_COLUMNS, *task.facts.user_columns.state_columns()])
    write_table(embed_shard(tower, users, task), storage.join(task.vectors, part))
    return {"users": users.height}


def _candidate_finder(task: SearchTask) -> Callable[[str], Record]:
    database = read_database(task.item_vectors, task.items)
    if task.effort is None:
        return partial(_search_part, task, exact_searcher(database, task.k))
    with storage.local_folder(task.index) as folder:
        index = load_index(folder)
    return partial(_search_part, task, Searcher(database, index, task.k, task.effort))


def _search_part(task: SearchTask, searcher: Searcher, part: str) -> Record:
    table = read_table(storage.join(task.user_vectors, part))
    found = searcher.search(matrix(table[columns.VECTOR]))
    write_table(candidates_table(table[columns.USER], found), storage.join(task.candidates, part))
    return {"users": table.num_rows, "refilled": found.refilled, "duplicates": duplicate_users(found)}
