"""Users per second that `publish` loads, against a bare binary COPY of the same rows and the key's index.

Both go into the same embedded server with fsync on. The yardstick's bytes are encoded before the
clock starts and go through one connection into a plain table that is then given the same key.
Ours reads Parquet parts, encodes, copies over `publish.connections`, keys, analyses, attaches and
promotes. Ratios are ours in the yardstick's time, at most 1.5 is the budget, and so is 100,000
users a second. The number of users is the first argument.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import lists
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import Connection, connected
from recjobs.publish.loading import ByteStream, Part, encode
from recjobs.publish.migrations import migrate
from recjobs.publish.tables import USERS

USER_COUNT = 1_000_000
CREATE = (
    'create table bare (surface text collate "C", user_id text collate "C", items text, scores real[], '
    "reasons text[], reason_of bytea, regime text)"
)
COPY = "copy bare from stdin with (format binary)"


def main(users: int = USER_COUNT) -> None:
    """Prints a JSON line for each figure."""
    with tempfile.TemporaryDirectory(prefix="recjobs-bench-") as folder, lists.server() as database:
        parts = lists.user_parts(Path(folder), users)
        bare, bare_bytes = _bare(database, parts)
        with connected(database) as connection:
            migrate(connection, database)
            loaded, promoted, stored = _ours(connection, database, parts)
    named = f"{users} users x {lists.LIST_LENGTH} items"
    _print(f"publish, {named}", users / (loaded + promoted), users / bare, "users/s", bare / (loaded + promoted))
    _print(f"stored, {named}", stored / users, bare_bytes / users, "bytes/user", bare_bytes / stored)
    _print("promotion", 1000 * promoted, 0, "ms", 0)


def _print(name: str, ours: float, yardstick: float, unit: str, inverse: float) -> None:
    ratio = round(1 / inverse, 3) if inverse else None
    row = {"name": name, "ours": round(ours, 2), "yardstick": round(yardstick, 2) or None, "ratio": ratio, "unit": unit}
    print(json.dumps(row))


def _bare(database: DatabaseConfig, parts: list[Part]) -> tuple[float, int]:
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
        stored = _size(connection, "bare")
        cursor.execute("drop table bare")
        connection.commit()
        cursor.execute("reset role")
        cursor.execute("checkpoint")
        connection.commit()
    return seconds, stored


def _ours(connection: Connection, database: DatabaseConfig, parts: list[Part]) -> tuple[float, float, int]:
    started = time.perf_counter()
    ready = lists.load(connection, database, date(2026, 1, 1), parts)
    loaded = time.perf_counter()
    lists.promote(connection, database, ready)
    promoted = time.perf_counter()
    return loaded - started, promoted - loaded, _size(connection, f"recs.user_lists_g{ready.generation}")


def _size(connection: Connection, table: str) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute("select pg_total_relation_size(%s)", (table,))
        found = cursor.fetchone()
        assert found is not None
        return int(found[0])


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
