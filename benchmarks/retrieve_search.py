"""Users searched per second against bare `search_batched_parallel` on the same arrays, with sources off and on.

Ours reads user vectors from Parquet shards, searches through the saved index, checks and refills short
answers, orders ties and writes the candidates, in a Beam pipeline and a process of its own, whose peak memory is
told. The yardstick has the vectors in memory and throws the hits away. `ratio` is ours over the yardstick in time:
at most 1.3 (DESIGN §11). With sources on (`--sources`, told apart, no budget) each user has K candidates of the
towers and 100 of the other sources, which learn from 20 events a user before (`learning`, in seconds).

The figures of DESIGN §11: --users 1000000 --items 100000 --shards 16 --sources
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from recjobs import columns
from recjobs.memory import peak_bytes
from recjobs.pipeline import BeamConfig
from recjobs.retrieve.search.audit import choose, recall_of, sample_rows
from recjobs.retrieve.search.index import Database, Searcher, build_index, efforts, exact_searcher, load_index
from recjobs.retrieve.search.shards import SearchTask, search_users
from recjobs.retrieve.search.sources.config import SourcesConfig
from recjobs.retrieve.search.sources.learning import LearningTask, learn
from recjobs.retrieve.search.sources.loading import SourcesTask
from recjobs.retrieve.search.vectors import list_column, write_table

Vectors = npt.NDArray[np.float32]
Row = dict[str, str | float | None]

WIDTH, CENTRES, AUDITED, FLOOR = 64, 500, 500, 0.98
ROUNDS = 3
EVENTS, NOW = 20, int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
GIBIBYTE = 2**30


def main(arguments: list[str]) -> int:
    """Prints one JSON line for the search through ScaNN, one for the exact search, one with sources on."""
    given = _arguments(arguments)
    items, users = clustered(given.items, given.users)
    with tempfile.TemporaryDirectory(prefix="recjobs-") as scratch:
        for scann in [True] if given.no_exact else [True, False]:
            folder = Path(scratch) / ("scann" if scann else "exact")
            row = compare(folder, items, users, given.candidates, given.shards, given.rounds, scann=scann)
            print(json.dumps(row), flush=True)
        if given.sources:
            print(json.dumps(with_sources(Path(scratch) / "scann", items, users, given)), flush=True)
    return 0


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--sources", action="store_true", help="also with the other candidate sources on")
    parser.add_argument("--no-exact", action="store_true", help="leave the exact search out: it takes long")
    return parser.parse_args(arguments)


def clustered(items: int, users: int) -> tuple[Vectors, Vectors]:
    """Vectors of length 1 around common centres, as trained towers give them."""
    random = np.random.default_rng(7)
    centres = random.normal(size=(CENTRES, WIDTH)).astype(np.float32)

    def around(rows: int) -> Vectors:
        vectors = centres[random.integers(0, CENTRES, rows)]
        vectors += np.float32(0.5) * random.standard_normal(vectors.shape, np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return around(items), around(users)


def compare(folder: Path, items: Vectors, users: Vectors, k: int, shards: int, rounds: int, *, scann: bool) -> Row:
    """Ours and the yardstick in turn, the median of each."""
    database = Database(np.arange(1, len(items) + 1, dtype=np.int32), items)
    searcher, built = _searcher(folder, database, users, k, scann=scann)
    task = _task(folder, database, users, shards, searcher)
    sample = users[sample_rows(len(users), AUDITED, (8,))]
    times: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        bare = _seconds(lambda: searcher._propose(users))
        times.append((*_apart(task, shards), bare))
    ours, peak, bare = (float(np.median(column)) for column in zip(*times, strict=True))
    method = "ScaNN" if searcher.effort else "exact"
    return {
        "name": f"retrieve/search, {method}, {len(users):,} users × {len(items):,} items, K {k}",
        "ours": len(users) / ours,
        "yardstick": len(users) / bare,
        "ratio": ours / bare,
        "unit": "users/s",
        "recall": recall_of(searcher, sample),
        "build_seconds": built,
        "peak_gib": peak / GIBIBYTE,
    }


def with_sources(folder: Path, items: Vectors, users: Vectors, given: argparse.Namespace) -> Row:
    """The search with all sources on, over what `compare` left in `folder`."""
    database = Database(np.arange(1, len(items) + 1, dtype=np.int32), items)
    settings = SourcesConfig()
    total = given.candidates + sum(settings.quotas.values())
    searcher, _ = _searcher(folder, database, users, total, scann=True)
    states, learning = _plant(folder, len(users), len(items), given.shards, settings)
    parts = [columns.part_name(shard) for shard in range(given.shards)]
    learnt = _seconds(lambda: learn(learning, parts, BeamConfig(shards=given.shards)))
    task = replace(
        _task(folder, database, users, given.shards, searcher),
        items=learning.items,
        own=given.candidates,
        sources=SourcesTask(learning.folder, states, (0.0, 1.0), NOW, settings),
    )
    seconds, peak = _apart(task, given.shards)
    return {
        "name": f"retrieve/search, sources on, {len(users):,} users × {len(items):,} items, K {total}",
        "ours": len(users) / seconds,
        "yardstick": None,
        "ratio": None,
        "unit": "users/s",
        "learning_seconds": learnt,
        "peak_gib": peak / GIBIBYTE,
    }


# -- the search in a process of its own


def _apart(task: SearchTask, shards: int) -> tuple[float, float]:
    """Seconds and peak bytes of the search alone."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_search, args=(theirs, task, shards))
    process.start()
    theirs.close()
    try:
        answer: tuple[float, float] = ours.recv()
    finally:
        process.join()
    return answer


def _search(pipe: Any, task: SearchTask, shards: int) -> None:
    parts = [columns.part_name(shard) for shard in range(shards)]
    # What a process imports once is not the search's.
    from recjobs.passes import ready, run_pass

    run_pass(BeamConfig(shards=1), "warm up", [1], ready(abs), task.candidates + "-warm")
    import scann  # noqa: F401

    seconds = _seconds(lambda: search_users(task, parts, BeamConfig(shards=shards)))
    pipe.send((seconds, float(peak_bytes())))


# -- input


def _searcher(folder: Path, database: Database, users: Vectors, k: int, *, scann: bool) -> tuple[Searcher, float]:
    """The searcher the stage would choose, and the seconds its index took to build."""
    exact = exact_searcher(database, k)
    if not scann:
        return exact, 0.0
    (folder / "index").mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    build_index(database, k).serialize(str(folder / "index"), relative_path=True)
    built = time.perf_counter() - started
    index = load_index(folder / "index")
    tried = [Searcher(database, index, k, effort) for effort in efforts(len(database.item_index), k)]
    sample = users[sample_rows(len(users), AUDITED, (7,))]
    chosen, audit = choose(tried, exact, sample, FLOOR)
    print(f"recall {audit.recall:.4f} with {chosen.effort}", file=sys.stderr)
    return chosen, built


def _task(folder: Path, database: Database, users: Vectors, shards: int, searcher: Searcher) -> SearchTask:
    index = pa.array(database.item_index)
    write_table(
        pa.table({columns.ITEM_INDEX: index, columns.VECTOR: list_column(database.vectors)}),
        str(folder / "items-vectors.parquet"),
    )
    write_table(pa.table({columns.AVAILABLE: pa.array([True] * len(index))}), str(folder / "items.parquet"))
    for shard, rows in enumerate(np.array_split(np.arange(len(users)), shards)):
        table = pa.table({columns.USER: _names(rows), columns.VECTOR: list_column(users[rows])})
        write_table(table, str(folder / "users" / columns.part_name(shard)))
    return SearchTask(
        user_vectors=str(folder / "users"),
        item_vectors=str(folder / "items-vectors.parquet"),
        items=str(folder / "items.parquet"),
        index=str(folder / "index"),
        candidates=str(folder / "candidates"),
        k=searcher.k,
        effort=searcher.effort,
    )


def _names(rows: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array([f"user-{row:07d}" for row in rows])


def _plant(folder: Path, users: int, items: int, shards: int, settings: SourcesConfig) -> tuple[str, LearningTask]:
    """Events, user states and item states: EVENTS a user, the popular items more often."""
    planted = folder / "extract"
    random = np.random.default_rng(11)
    for shard, rows in enumerate(np.array_split(np.arange(users), shards)):
        item = (items * random.random((len(rows), EVENTS)) ** 3).astype(np.int32) + 1
        age = np.cumsum(random.integers(1, 200_000, (len(rows), EVENTS)), axis=1)
        country = np.array(["GB", "FR", "DE", "IT"])[rows % 4]
        states = _states(_names(rows), item, NOW - age, country)
        write_table(states, str(planted / "users" / columns.part_name(shard)))
        events = _events(_names(rows), item[:, ::-1], (NOW - age)[:, ::-1])
        write_table(events, str(planted / "events" / columns.part_name(shard)))
    _write_items(planted / "items.parquet", items)
    return str(planted / "users"), LearningTask(
        events={part: [str(planted / "events" / part)] for part in map(columns.part_name, range(shards))},
        users=str(planted / "users"),
        items=str(planted / "items.parquet"),
        folder=str(folder / "sources"),
        end=NOW,
        weights={"view": 1.0},
        settings=settings,
    )


def _states(names: pa.Array, item: Any, time_: Any, country: Any) -> pa.Table:
    """Latest first."""
    return pa.table(
        {
            columns.USER: names,
            columns.COUNTRY: country,
            columns.PAIR_ITEM: list_column(item),
            columns.PAIR_TYPE: list_column(np.ones(item.shape, np.int8)),
            columns.PAIR_COUNT: list_column(np.ones(item.shape, np.int32)),
            columns.PAIR_LAST: list_column(time_.astype(np.int64)),
        }
    )


def _events(names: pa.Array, item: Any, time_: Any) -> pa.Table:
    """Oldest first."""
    users = pl.Series(names).gather(np.repeat(np.arange(len(names)), EVENTS))
    frame = pl.DataFrame(
        {
            columns.USER: users,
            columns.ITEM: pl.Series(item.ravel()).cast(pl.String),
            columns.EVENT_TYPE: pl.repeat("view", len(users), eager=True),
            columns.TIMESTAMP: (pl.Series(time_.ravel()) * 1_000_000).cast(pl.Datetime("us", "UTC")),
        }
    )
    return frame.to_arrow()


def _write_items(path: Path, items: int) -> None:
    index = np.arange(1, items + 1, dtype=np.int32)
    born = pl.Series((NOW - (index.astype(np.int64) % 400) * 86_400) * 1_000_000).cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame(
        {
            columns.ITEM: pl.Series(index).cast(pl.String),
            columns.ITEM_INDEX: index,
            columns.AVAILABLE: pl.repeat(True, items, eager=True),
            columns.CREATED_AT: born,
            columns.FIRST_EVENT: born,
            columns.N_USERS: index.astype(np.int64)[::-1],
        }
    )
    write_table(frame.to_arrow(), str(path))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
