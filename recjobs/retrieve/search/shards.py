"""The two passes over users, a shard at a time: states to vectors, vectors to candidates.

Elements are names of part files; a worker loads the tower or the index once and holds one shard at
a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa

from recjobs import columns, storage
from recjobs.passes import Record, run_pass
from recjobs.pipeline import BeamConfig
from recjobs.ragged import matrix
from recjobs.retrieve.search.index import (
    Database,
    Effort,
    Found,
    Indexes,
    Searcher,
    Vectors,
    exact_searcher,
    load_index,
)
from recjobs.retrieve.search.mixing import Mixed, Mixer, joined, mix, towers_alone
from recjobs.retrieve.search.sources.loading import Source, SourcesTask, load_sources
from recjobs.retrieve.search.sources.users import Users, read_users
from recjobs.retrieve.search.towers import Tower, TowerFacts, user_vectors
from recjobs.retrieve.search.vectors import list_column, read_database, read_table, write_table

_CHECKED_USERS = 1000
"""Users of a shard whose candidates are checked for duplicates; sorting all would cost as much as the search."""
_COUNTS = ("users", "refilled", "duplicates", "candidates")
_USERS_A_BLOCK = 512
"""Small enough that a block's scores stay near the processor; large enough that Python is not noticed."""
SHARE, ALONE = "share", "alone"
"""Prefixes of counts by source: candidates it proposed, and those that nobody else did."""


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
    """Where vectors, items and the index are, where candidates go; `effort` is None for exact search.

    `k` candidates a user, of which the towers bring `own`; `sources` is None where they are alone.
    """

    user_vectors: str
    item_vectors: str
    items: str
    index: str
    candidates: str
    k: int
    effort: Effort | None
    own: int = 0
    sources: SourcesTask | None = None


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

    Returns the number of `users`, of users `refilled` exactly, of `duplicates` among the users checked, of
    `candidates`, and by source its `share/…` of them and what it `alone/…` brought, both as numbers of candidates.

    Raises:
        ModelError: no item is available.
        MissingInputError: the index or a part is not there.
    """
    scratch = storage.join(task.candidates, ".pass")
    records = run_pass(config, "candidates", parts, partial(_candidate_finder, task), scratch)
    names = (*_COUNTS, *(f"{kind}/{source}" for kind in (SHARE, ALONE) for source in columns.SOURCES))
    return {name: sum(record[name] for record in records) for name in names}


def embed_shard(tower: Tower, users: pl.DataFrame, task: EmbedTask) -> pa.Table:
    """`user_id` and `vector` of one shard's users, in their order."""
    vectors = user_vectors(tower, users, task.facts, task.now)
    return pa.table(
        {columns.USER: users[columns.USER].to_arrow().cast(pa.string()), columns.VECTOR: list_column(vectors)}
    )


def candidates_table(users: pa.ChunkedArray, mixed: Mixed) -> pa.Table:
    """One shard's candidates in `CANDIDATE_SCHEMA`; the scores of sources that are off are null."""
    off = pa.nulls(len(users), pa.list_(pa.float32()))
    scores = [list_column(mixed.by_source[name]) if name in mixed.by_source else off for name in columns.SCORED_SOURCES]
    lists = [list_column(values) for values in (mixed.item_index, mixed.score, mixed.source)]
    return pa.Table.from_arrays([users, *lists, *scores], schema=columns.CANDIDATE_SCHEMA)


def duplicate_users(item_index: Indexes) -> int:
    """How many of the first users have an item twice."""
    ordered = np.sort(item_index[:_CHECKED_USERS], axis=1)
    return int((ordered[:, 1:] == ordered[:, :-1]).any(axis=1).sum())


def source_counts(mixed: Mixed) -> dict[str, int]:
    """By source, how many candidates it brought, and how many it alone did."""
    bits, counts = np.unique(mixed.source, return_counts=True)
    found = {}
    for source in columns.SOURCES:
        bit = columns.source_bit(source)
        found[f"{SHARE}/{source}"] = int(counts[(bits & bit) > 0].sum())
        found[f"{ALONE}/{source}"] = int(counts[bits == bit].sum())
    return found


def _embedder(task: EmbedTask) -> Callable[[str], Record]:
    # A tower is in memory once loaded: a copy of its folder need not stay.
    with storage.local_folder(task.tower) as folder:
        return partial(_embed_part, task, Tower(folder))


def _embed_part(task: EmbedTask, tower: Tower, part: str) -> Record:
    with storage.reading(storage.join(task.users, part)) as stream:
        users = pl.read_parquet(stream, columns=list(task.facts.state_columns()))
    write_table(embed_shard(tower, users, task), storage.join(task.vectors, part))
    return {"users": users.height}


def _candidate_finder(task: SearchTask) -> Callable[[str], Record]:
    database = read_database(task.item_vectors, task.items)
    sources = load_sources(task.sources, task.items, database) if task.sources else {}
    if task.effort is None:
        return partial(_search_part, task, exact_searcher(database, task.k), sources)
    with storage.local_folder(task.index) as folder:
        index = load_index(folder)
    return partial(_search_part, task, Searcher(database, index, task.k, task.effort), sources)


def _search_part(task: SearchTask, searcher: Searcher, sources: Mapping[str, Source], part: str) -> Record:
    table = read_table(storage.join(task.user_vectors, part))
    queries = matrix(table[columns.VECTOR])
    found = searcher.search(queries)
    mixed = _mixed(task, searcher, sources, part, queries, found)
    write_table(candidates_table(table[columns.USER], mixed), storage.join(task.candidates, part))
    return {
        "users": table.num_rows,
        "refilled": found.refilled,
        "duplicates": duplicate_users(mixed.item_index),
        "candidates": mixed.item_index.size,
        **source_counts(mixed),
    }


def _mixed(
    task: SearchTask,
    searcher: Searcher,
    sources: Mapping[str, Source],
    part: str,
    queries: Vectors,
    found: Found,
) -> Mixed:
    if task.sources is None or not len(queries):
        return towers_alone(found)
    settings = task.sources.settings
    users = read_users(storage.join(task.sources.users, part), settings.segment.by)
    mixer = Mixer(min(task.own, searcher.k), settings.quotas, settings.weights)
    return joined(list(_blocks(users, queries, found, searcher.database, sources, mixer)))


def _blocks(
    users: Users, queries: Vectors, found: Found, database: Database, sources: Mapping[str, Source], mixer: Mixer
) -> Iterator[Mixed]:
    def mixed(start: int) -> Mixed:
        stop = start + _USERS_A_BLOCK
        block = users.part(start, stop)
        proposals = {name: source.block(block) for name, source in sources.items()}
        hits = Found(found.item_index[start:stop], found.score[start:stop], 0)
        return mix(hits, queries[start:stop], database, proposals, mixer)

    # Blocks know nothing of each other, and NumPy and SciPy leave Python's lock alone while they work.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        yield from threads.map(mixed, range(0, len(users), _USERS_A_BLOCK))
