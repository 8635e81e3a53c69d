"""Users per second that `publish` makes live, against a bare binary COPY of the same rows and the key's index.

Both go into the same embedded server with fsync on. The yardstick's bytes are encoded before the
clock starts and go through one connection into a plain table that is then given the same key.
Ours reads Parquet parts, encodes, copies, keys, analyses, attaches and promotes. `ratio` is ours in
the yardstick's time: at most 1.5 is the budget. The number of users is the first argument.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import SecretStr

from recjobs import columns
from recjobs.publish import embedded, generations, promotion
from recjobs.publish.config import DatabaseConfig, PublishConfig
from recjobs.publish.connection import connected
from recjobs.publish.generations import Publication
from recjobs.publish.loading import USERS, ByteStream, Part, encode, load
from recjobs.publish.migrations import migrate
from tests.database import own_server

USER_COUNT, LIST_LENGTH, ITEM_COUNT, SHARDS = 200_000, 50, 100_000, 8
CREATE = (
    'create table bare (surface text, user_id text collate "C", items text[], scores real[], reasons text[], '
    "regime text)"
)
COPY = "copy bare from stdin with (format binary)"


def main(users: int = USER_COUNT) -> None:
    """Prints one JSON line."""
    folder = Path(tempfile.mkdtemp(prefix="recjobs-bench-"))
    parts = [_write(folder / columns.part_name(shard), shard, users // SHARDS) for shard in range(SHARDS)]
    with _database(folder) as database:
        yardstick = users / _bare(database, parts)
        ours = users / _ours(database, parts)
    print(
        json.dumps(
            {
                "name": f"publish, {users} users x {LIST_LENGTH} items",
                "ours": round(ours),
                "yardstick": round(yardstick),
                "ratio": round(yardstick / ours, 3),
                "unit": "users/s",
            }
        )
    )


@contextmanager
def _database(folder: Path) -> Iterator[DatabaseConfig]:
    server = own_server(folder)
    yield DatabaseConfig(url=SecretStr(embedded.start(server)))
    embedded.stop(server)


def _bare(database: DatabaseConfig, parts: list[Part]) -> float:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(CREATE)
        connection.commit()
        seconds = 0.0
        for part in parts:
            stream = b"".join(encode(USERS, part.surface, pq.ParquetFile(part.uri).iter_batches()))
            started = time.perf_counter()
            cursor.copy_expert(COPY, ByteStream(iter([stream])), size=1 << 18)
            seconds += time.perf_counter() - started
        started = time.perf_counter()
        cursor.execute("alter table bare add primary key (user_id, surface)")
        connection.commit()
        seconds += time.perf_counter() - started
        cursor.execute("drop table bare")
        connection.commit()
        cursor.execute("reset role")
        cursor.execute("checkpoint")
        connection.commit()
    return seconds


def _ours(database: DatabaseConfig, parts: list[Part]) -> float:
    with connected(database) as connection:
        migrate(connection, database)
        started = time.perf_counter()
        one = generations.register(connection, database, Publication("bench", date(2026, 1, 1), "bench"))
        ready = load(connection, database, PublishConfig(), one, parts)
        switch = promotion.publish(
            connection, database.schema_name, ready.generation, promotion.Reason("bench", "bench")
        )
        seconds = time.perf_counter() - started
    assert switch.generation.state == "live"
    return seconds


def _write(path: Path, shard: int, users: int) -> Part:
    random = np.random.default_rng(shard)
    items = pa.array([f"item-{number:06d}" for number in range(ITEM_COUNT)])
    reasons = pa.array([f"because you bought thing {number}" for number in range(200)])
    offsets = pa.array(np.arange(users + 1, dtype=np.int32) * LIST_LENGTH)
    cells = users * LIST_LENGTH
    table = pa.Table.from_arrays(
        [
            pa.array([f"user-{shard}-{number:07d}" for number in range(users)]),
            pa.ListArray.from_arrays(offsets, items.take(pa.array(random.integers(0, ITEM_COUNT, cells)))),
            pa.ListArray.from_arrays(offsets, pa.array(random.random(cells, np.float32))),
            pa.ListArray.from_arrays(offsets, reasons.take(pa.array(random.integers(0, 200, cells)))),
            pa.repeat(columns.WARM, users),
        ],
        schema=columns.LIST_SCHEMA,
    )
    pq.write_table(table, path)
    return Part(USERS, str(path), "home")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
