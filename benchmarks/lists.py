"""Lists as `compose` writes them, drawn at random, and a server of the benchmark's own to load them into."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import SecretStr

from recjobs import columns
from recjobs.publish import embedded, generations, loading, promotion
from recjobs.publish.config import DatabaseConfig, PublishConfig
from recjobs.publish.connection import Connection
from recjobs.publish.generations import Generation, Publication
from recjobs.publish.loading import Part
from recjobs.publish.tables import ITEMS, SEGMENTS, USERS
from tests.database import own_server

LIST_LENGTH, ITEM_COUNT, SHARDS, REASONS = 50, 100_000, 8, 8
"""`REASONS` is how many different reasons a list has."""


def user_id(number: int) -> str:
    """The id of user `number`, counted from 0."""
    return f"user-{number:07d}"


def item_ids() -> pa.Array:
    """The catalogue."""
    return pa.array([f"item-{number:06d}" for number in range(ITEM_COUNT)])


@contextmanager
def server() -> Iterator[DatabaseConfig]:
    """An embedded server with the product's settings, fsync on, gone afterwards."""
    config = own_server(Path(tempfile.mkdtemp(prefix="recjobs-bench-")))
    yield DatabaseConfig(url=SecretStr(embedded.start(config)))
    embedded.stop(config)


def user_parts(folder: Path, users: int) -> list[Part]:
    """Files of `users` lists on surface `home`."""
    bounds = np.linspace(0, users, SHARDS + 1).astype(int).tolist()
    return [
        _written(folder / columns.part_name(shard), _user_table(shard, first, last), Part(USERS, "", "home"))
        for shard, (first, last) in enumerate(pairwise(bounds))
    ]


def other_parts(folder: Path) -> list[Part]:
    """Everybody's list, and each item's similar items."""
    random = np.random.default_rng(0)
    items, cells = item_ids(), ITEM_COUNT * LIST_LENGTH
    similar = [items, _lists(items.take(pa.array(random.integers(0, ITEM_COUNT, cells)))), _scores(random, ITEM_COUNT)]
    popular = _lists(items.take(pa.array(random.permutation(ITEM_COUNT)[:LIST_LENGTH])))
    everybody = [
        pa.array([columns.GLOBAL_SEGMENT]), popular, _scores(random, 1), _lists(pa.array(["popular"] * LIST_LENGTH)),
    ]  # fmt: skip
    return [
        _written(
            folder / "items.parquet", pa.Table.from_arrays(similar, schema=columns.ITEM_LIST_SCHEMA), Part(ITEMS, "")
        ),
        _written(
            folder / "segments.parquet",
            pa.Table.from_arrays(everybody, schema=columns.SEGMENT_LIST_SCHEMA),
            Part(SEGMENTS, "", "home"),
        ),
    ]


def load(connection: Connection, database: DatabaseConfig, ds: date, parts: list[Part]) -> Generation:
    """The parts as a generation that is ready."""
    one = generations.register(connection, database, Publication("bench", ds, "bench"))
    return loading.load(connection, database, PublishConfig(), one, parts)


def promote(connection: Connection, database: DatabaseConfig, generation: Generation) -> None:
    """Makes it live."""
    switch = promotion.publish(
        connection, database.schema_name, generation.generation, promotion.Reason("bench", "bench")
    )
    assert switch.generation.state == "live"


def _user_table(shard: int, first: int, last: int) -> pa.Table:
    random, users = np.random.default_rng(shard), last - first
    reasons = pa.array([f"because you bought thing number {number}" for number in range(20_000)])
    own = random.integers(0, len(reasons), (users, REASONS))
    chosen = np.take_along_axis(own, random.integers(0, REASONS, (users, LIST_LENGTH)), axis=1)
    arrays = [
        pa.array([user_id(number) for number in range(first, last)]),
        _lists(item_ids().take(pa.array(random.integers(0, ITEM_COUNT, users * LIST_LENGTH)))),
        _scores(random, users),
        _lists(reasons.take(pa.array(chosen.ravel()))),
        pa.repeat(columns.WARM, users),
    ]
    return pa.Table.from_arrays(arrays, schema=columns.LIST_SCHEMA)


def _scores(random: np.random.Generator, rows: int) -> pa.Array:
    return _lists(pa.array(random.random(rows * LIST_LENGTH, np.float32)))


def _lists(values: pa.Array) -> pa.Array:
    offsets = np.arange(len(values) // LIST_LENGTH + 1, dtype=np.int32) * LIST_LENGTH
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _written(path: Path, table: pa.Table, part: Part) -> Part:
    pq.write_table(table, path)
    return Part(part.table, str(path), part.surface)
