"""Reads per second and their p99, by `pgbench` on the same two cores, of a generation of 1 M users x 50 items.

The yardstick is the bare read of the same row by its primary key, prepared, in the same run. Then: a
rate of 10,000 reads a second, and the longest that a reader waits while nights are loaded, go live
and are pruned. `pgbench` reads as a login that is in `recs_reader`. The number of users is the first
argument.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from psycopg2 import extensions, sql

from benchmarks import lists
from recjobs.publish import embedded, retention
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import READER, WRITER, Connection, connected, database_url
from recjobs.publish.loading import Part
from recjobs.publish.migrations import migrate

USER_COUNT, SECONDS, CLIENTS, STEADY_RATE, NIGHTS = 1_000_000, 15, 4, 1_000, 2
GONE = 0.05
"""Share of the catalogue that is unavailable where a row says so."""
_USER = "\\set user random(0, {last})\n"
_USER_ID = "'user-' || lpad(:user::text, 7, '0')"
_ITEM_ID = "'item-' || lpad(:item{place}::text, 6, '0')"


@dataclass(frozen=True)
class Reads:
    """What one run of pgbench saw."""

    rate: float
    """Reads per second."""
    milliseconds: np.ndarray
    """Of each read; with a rate asked for, since the moment it was due."""

    @property
    def p99(self) -> float:
        """Milliseconds in which 99 of 100 reads were done."""
        return float(np.percentile(self.milliseconds, 99))


def main(users: int = USER_COUNT) -> None:
    """Prints a JSON line for each figure."""
    with (
        tempfile.TemporaryDirectory(prefix="recjobs-bench-") as folder,
        lists.server() as database,
        connected(database) as connection,
    ):
        migrate(connection, database)
        parts = lists.user_parts(Path(folder), users) + lists.other_parts(Path(folder))
        lists.promote(connection, database, lists.load(connection, database, date(2026, 1, 1), parts))
        reader = _reader(connection, database)
        _reads(connection, reader, users)
        _quiet(connection, database, reader, users, parts)


def _reads(connection: Connection, reader: str, users: int) -> None:
    scripts = _scripts(users)
    bare = _pgbench(reader, scripts.pop("bare"))
    for name, script in scripts.items():
        _print(name, _pgbench(reader, script), bare)
    _print("get_list, 10,000 reads/s asked for", _pgbench(reader, scripts["get_list"], "-R", "10000"), bare)
    with connection, connection.cursor() as cursor:
        gone = lists.item_ids().to_pylist()[:: round(1 / GONE)]
        cursor.execute("insert into recs.item_availability (item_id, available) select unnest(%s), false", (gone,))
    for name in ("get_list", "session_list of 5 items"):
        _print(f"{name}, {GONE:.0%} unavailable", _pgbench(reader, scripts[name]), bare)


def _print(name: str, reads: Reads, bare: Reads) -> None:
    _row(name, reads.rate, bare.rate, bare.rate / reads.rate, "reads/s")
    _row(name, reads.p99, bare.p99, reads.p99 / bare.p99, "ms p99")


def _row(name: str, ours: float, yardstick: float, ratio: float, unit: str) -> None:
    figures = {"ours": round(ours, 2), "yardstick": round(yardstick, 2), "ratio": round(ratio, 3)}
    print(json.dumps({"name": name, **figures, "unit": unit}), flush=True)


def _quiet(connection: Connection, database: DatabaseConfig, reader: str, users: int, parts: list[Part]) -> None:
    """Readers at a steady rate; the yardstick is the same while nothing else happens."""
    script, rate = _scripts(users)["get_list"], ("-R", str(STEADY_RATE))
    calm = _pgbench(reader, script, *rate)
    with tempfile.TemporaryDirectory() as folder:
        # pgbench writes its log as it goes, so it may run longer than needed and be stopped.
        running = _started(reader, script, Path(folder), 3600, *rate)
        time.sleep(2)
        _nights(connection, database, parts)
        time.sleep(1)
        running.terminate()
        running.wait()
        busy = _logged(Path(folder))
    name = f"longest of {len(busy):,} reads while {NIGHTS} nights load, go live and are pruned"
    _row(name, busy.max(), calm.milliseconds.max(), busy.max() / calm.milliseconds.max(), "ms")
    _row("p99 of the same", np.percentile(busy, 99), calm.p99, np.percentile(busy, 99) / calm.p99, "ms")


def _nights(connection: Connection, database: DatabaseConfig, parts: list[Part]) -> None:
    for day in range(2, 2 + NIGHTS):
        lists.promote(connection, database, lists.load(connection, database, date(2026, 1, day), parts))
        retention.prune(connection, database.schema_name, keep=2)
        connection.autocommit = False


def _scripts(users: int) -> dict[str, str]:
    user = _USER.format(last=users - 1)
    items = "".join(f"\\set item{place} random(0, {lists.ITEM_COUNT - 1})\n" for place in range(5))
    five = ", ".join(_ITEM_ID.format(place=place) for place in range(5))
    return {
        "bare": f"{user}select items, scores, reasons from recs.user_lists "
        f"where generation = 1 and surface = 'home' and user_id = {_USER_ID};\n",
        "get_list": f"{user}select * from recs.get_list({_USER_ID});\n",
        "get_list, user without a list": f"{user}select * from recs.get_list('nobody ' || :user);\n",
        "similar_items": f"{items}select * from recs.similar_items({_ITEM_ID.format(place=0)});\n",
        "session_list of 5 items": f"{items}select * from recs.session_list(array[{five}]);\n",
    }


def _reader(connection: Connection, database: DatabaseConfig) -> str:
    """The URL of a login that reads as an app does, and may read the table itself for the yardstick."""
    with connection, connection.cursor() as cursor:
        cursor.execute("grant select on recs.user_lists to recs_reader")
        cursor.execute("reset role")
        cursor.execute(sql.SQL("create role app login password 'app' in role {}").format(sql.Identifier(READER)))
        cursor.execute(sql.SQL("set role {}").format(sql.Identifier(WRITER)))
    parts = extensions.parse_dsn(database_url(database))
    return f"postgresql://app:app@{parts['host']}:{parts['port']}/{parts['dbname']}"


def _pgbench(reader: str, script: str, *arguments: str) -> Reads:
    with tempfile.TemporaryDirectory() as folder:
        running = _started(reader, script, Path(folder), SECONDS, *arguments)
        said, _ = running.communicate()
        if running.returncode:
            raise SystemExit(said)
        reads = _logged(Path(folder))
    rate = next(line.split()[2] for line in said.splitlines() if line.startswith("tps ="))
    return Reads(float(rate), reads)


def _started(reader: str, script: str, folder: Path, seconds: int, *arguments: str) -> subprocess.Popen[str]:
    (folder / "script.sql").write_text(script)
    command = [
        str(embedded.binary("pgbench")), "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds),
        "-l", f"--log-prefix={folder / 'reads'}", "-f", str(folder / "script.sql"), *arguments, reader,
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _logged(folder: Path) -> np.ndarray:
    """Milliseconds of each read, from pgbench's logs; a last line that was cut is left out."""
    lines = [line.split() for log in folder.glob("reads.*") for line in log.read_text().splitlines()]
    whole = max(map(len, lines))
    return np.array([int(line[2]) for line in lines if len(line) == whole]) / 1000


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
