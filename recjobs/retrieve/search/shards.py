"""The two passes over users, a shard at a time: states to vectors, vectors to candidates.

Elements are names of part files; a worker loads the tower or the index once and holds one shard at
a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
from apache_beam.metrics import Metrics

from recjobs import columns, storage
from recjobs.pipeline import BeamConfig, pipeline
from recjobs.retrieve.search.index import Effort, Found, Searcher, exact_searcher, load_index
from recjobs.retrieve.search.towers import Tower, TowerFacts, user_vectors
from recjobs.retrieve.search.vectors import list_column, matrix, read_database, read_table, write_table
from recjobs.retrieve.user_features import STATE_COLUMNS

TOWERS = columns.SOURCES.index("towers")
_CHECKED_USERS = 1000
"""Users of a shard whose candidates are checked for duplicates; sorting all would cost as much as the search."""
_COUNTERS = ("users", "refilled", "duplicates")


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
    """Writes a vectors part for each part of states. Returns the number of `users`."""
    return _run(_EmbedShard(task), parts, config)


def search_users(task: SearchTask, parts: Sequence[str], config: BeamConfig) -> dict[str, int]:
    """Writes a candidates part for each part of vectors.

    Returns the number of `users`, of users `refilled` exactly, and of `duplicates` among the users checked.
    """
    return _run(_SearchShard(task), parts, config)


def _run(transform: beam.DoFn, parts: Sequence[str], config: BeamConfig) -> dict[str, int]:
    run = pipeline(config)
    run | beam.Create(list(parts)) | beam.Reshuffle() | beam.ParDo(transform)
    result = run.run()
    result.wait_until_finish()
    counters = {counter.key.metric.name: counter.result for counter in result.metrics().query()["counters"]}
    return {name: int(counters.get(name) or 0) for name in _COUNTERS}


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


class _Worker(beam.DoFn):  # type: ignore[misc]
    """Keeps what `setup` opened until `teardown`."""

    def setup(self) -> None:
        self.stack = contextlib.ExitStack()

    def teardown(self) -> None:
        self.stack.close()

    def local(self, uri: str) -> Any:
        return self.stack.enter_context(storage.local_folder(uri))

    @staticmethod
    def count(name: str, value: int) -> None:
        Metrics.counter("retrieve/search", name).inc(value)


class _EmbedShard(_Worker):
    """A part of user states in; a part of user vectors written, its name out."""

    def __init__(self, task: EmbedTask) -> None:
        self.task = task

    def setup(self) -> None:
        super().setup()
        self.tower = Tower(self.local(self.task.tower))

    def process(self, part: str) -> Iterator[str]:
        with storage.reading(storage.join(self.task.users, part)) as stream:
            users = pl.read_parquet(stream, columns=list(STATE_COLUMNS))
        write_table(embed_shard(self.tower, users, self.task), storage.join(self.task.vectors, part))
        self.count("users", users.height)
        yield part


class _SearchShard(_Worker):
    """A part of user vectors in; a part of candidates written, its name out."""

    def __init__(self, task: SearchTask) -> None:
        self.task = task

    def setup(self) -> None:
        super().setup()
        database = read_database(self.task.item_vectors, self.task.items)
        if self.task.effort is None:
            self.searcher = exact_searcher(database, self.task.k)
        else:
            self.searcher = Searcher(database, load_index(self.local(self.task.index)), self.task.k, self.task.effort)

    def process(self, part: str) -> Iterator[str]:
        table = read_table(storage.join(self.task.user_vectors, part))
        found = self.searcher.search(matrix(table[columns.VECTOR]))
        write_table(candidates_table(table[columns.USER], found), storage.join(self.task.candidates, part))
        self.count("users", table.num_rows)
        self.count("refilled", found.refilled)
        self.count("duplicates", duplicate_users(found))
        yield part
