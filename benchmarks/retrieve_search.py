"""Users searched per second against bare `search_batched_parallel` on the same arrays.

Ours reads user vectors from Parquet shards, searches through the saved index, checks and refills short
answers, orders ties and writes the candidates, in a Beam pipeline. The yardstick has the vectors in
memory and throws the hits away. `ratio` is ours over the yardstick in time: at most 1.3 (DESIGN §11).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recjobs import columns
from recjobs.pipeline import BeamConfig
from recjobs.retrieve.search.audit import choose, sample_rows
from recjobs.retrieve.search.index import Database, Searcher, build_index, efforts, exact_searcher, load_index
from recjobs.retrieve.search.shards import SearchTask, search_users
from recjobs.retrieve.search.vectors import list_column, write_table

Vectors = npt.NDArray[np.float32]

WIDTH, CENTRES, AUDITED, FLOOR = 64, 500, 500, 0.98
ROUNDS = 3


def main(arguments: list[str]) -> int:
    """Prints one JSON line for the search through ScaNN, and one for the exact search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--shards", type=int, default=8)
    given = parser.parse_args(arguments)
    items, users = clustered(given.items, given.users)
    with tempfile.TemporaryDirectory(prefix="recjobs-") as scratch:
        for scann in (True, False):
            folder = Path(scratch) / ("scann" if scann else "exact")
            print(json.dumps(compare(folder, items, users, given.candidates, given.shards, scann=scann)), flush=True)
    return 0


def clustered(items: int, users: int) -> tuple[Vectors, Vectors]:
    """Vectors of length 1 around common centres, as trained towers give them."""
    random = np.random.default_rng(7)
    centres = random.normal(size=(CENTRES, WIDTH))

    def around(rows: int) -> Vectors:
        vectors = centres[random.integers(0, CENTRES, rows)] + 0.5 * random.normal(size=(rows, WIDTH))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    return around(items), around(users)


def compare(
    folder: Path, items: Vectors, users: Vectors, k: int, shards: int, *, scann: bool
) -> dict[str, str | float]:
    """Ours and the yardstick in turn, the median of each."""
    database = Database(np.arange(1, len(items) + 1, dtype=np.int32), items)
    searcher = _searcher(folder, database, users, k, scann=scann)
    task = _task(folder, database, users, shards, searcher)
    parts = [columns.part_name(shard) for shard in range(shards)]
    times: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        bare = _seconds(lambda: searcher._propose(users))
        times.append((_seconds(lambda: search_users(task, parts, BeamConfig(shards=shards))), bare))
    ours, bare = (float(np.median(column)) for column in zip(*times, strict=True))
    method = "ScaNN" if searcher.effort else "exact"
    return {
        "name": f"retrieve/search, {method}, {len(users):,} users × {len(items):,} items, K {k}",
        "ours": len(users) / ours,
        "yardstick": len(users) / bare,
        "ratio": ours / bare,
        "unit": "users/s",
    }


def _searcher(folder: Path, database: Database, users: Vectors, k: int, *, scann: bool) -> Searcher:
    exact = exact_searcher(database, k)
    if not scann:
        return exact
    (folder / "index").mkdir(parents=True)
    build_index(database, k).serialize(str(folder / "index"), relative_path=True)
    index = load_index(folder / "index")
    tried = [Searcher(database, index, k, effort) for effort in efforts(len(database.item_index), k)]
    sample = users[sample_rows(len(users), AUDITED, (7,))]
    chosen, audit = choose(tried, exact, sample, FLOOR)
    print(f"recall {audit.recall:.4f} with {chosen.effort}", file=sys.stderr)
    return chosen


def _task(folder: Path, database: Database, users: Vectors, shards: int, searcher: Searcher) -> SearchTask:
    index = pa.array(database.item_index)
    write_table(
        pa.table({columns.ITEM_INDEX: index, columns.VECTOR: list_column(database.vectors)}),
        str(folder / "items-vectors.parquet"),
    )
    write_table(pa.table({columns.AVAILABLE: pa.array([True] * len(index))}), str(folder / "items.parquet"))
    for shard, rows in enumerate(np.array_split(np.arange(len(users)), shards)):
        names = pa.array([f"user-{row:07d}" for row in rows])
        table = pa.table({columns.USER: names, columns.VECTOR: list_column(users[rows])})
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


def _seconds(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
