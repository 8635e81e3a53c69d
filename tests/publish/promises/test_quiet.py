"""Quiet: no lock makes a reader wait more than 50 ms, even behind another reader's long transaction.

The server itself is the witness: it logs every wait for a lock that lasts longer than 45 ms.
Readers ask all the time, two more hold a transaction open that has read from everywhere (one with
generic plans, one with a snapshot), and meanwhile nights are loaded, attached, promoted, taken back
and pruned: none of this takes a lock that readers wait for, so nothing depends on how fast this
machine is. To replace a view does, for the milliseconds of the work; the server may get no processor
meanwhile, so there the bound is on the longest wait, far below what queuing behind the long
transactions would take. That the server would tell is tried too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import extensions

from recjobs.errors import DatabaseUnavailableError
from recjobs.publish import earlier, migrations, operations, retention
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected, database_url
from recjobs.publish.migrations import Script, migrate, scripts
from tests.publish.composed import night, settings_for
from tests.publish.promises.readers import PARTS, read_parts, reading_all_the_time, tag_of
from tests.publish.promises.state import left_over, live_number

KEEP_TWO = {"publish.keep_generations": 2}
LONGEST_WHILE_REPLACED = 500.0
"""Milliseconds: a quarter of the time for which the migration tries to get past the long transactions."""


@dataclass
class Witness:
    """The server's log of waits for locks in one database, from now on."""

    log: Path
    database: int
    start: int

    def waits_of_readers(self) -> list[str]:
        """Lines on waits of more than 45 ms for the lock that a SELECT takes."""
        with open(self.log, errors="replace") as log:
            log.seek(self.start)
            return [
                line.strip()
                for line in log
                if f"of database {self.database} after" in line and "still waiting for AccessShareLock" in line
            ]

    def longest_wait_of_a_reader(self) -> float:
        """Milliseconds until a reader had the lock it waited for; 0 where none waited for 45 ms."""
        with open(self.log, errors="replace") as log:
            log.seek(self.start)
            found = re.findall(
                rf"AccessShareLock on relation \d+ of database {self.database} after ([\d.]+) ms", log.read()
            )
        return max(map(float, found), default=0.0)


@pytest.fixture
def witness(any_database: DatabaseConfig) -> Witness:
    with closing(psycopg2.connect(database_url(any_database))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(
            "select oid, datname, current_setting('data_directory') from pg_database where datname = current_database()"
        )
        oid, name, data = cursor.fetchone()
        cursor.execute(f"alter database {name} set deadlock_timeout = '45ms'")
        cursor.execute(f"alter database {name} set log_lock_waits = on")
    log = Path(data) / "server.log"
    return Witness(log, oid, log.stat().st_size)


@contextmanager
def long_transactions(database: DatabaseConfig) -> Iterator[list[extensions.cursor]]:
    """Two transactions that have read everything, often enough for generic plans, and stay open."""
    with (
        closing(psycopg2.connect(database_url(database))) as committed,
        closing(psycopg2.connect(database_url(database))) as snapshot,
    ):
        snapshot.set_session(isolation_level=extensions.ISOLATION_LEVEL_REPEATABLE_READ)
        cursors = [committed.cursor(), snapshot.cursor()]
        for cursor in cursors:
            for number, statement in enumerate(PARTS.values()):
                cursor.execute(f"prepare part_{number} as {statement}")
                for _ in range(7):
                    cursor.execute(f"execute part_{number}")
        yield cursors


def test_quiet_behind_long_transactions(
    tmp_path: Path, any_database: DatabaseConfig, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, any_database)
    for day in (1, 2, 3):
        night(tmp_path, any_database, ds=f"2026-01-{day:02d}", overrides=KEEP_TWO).publish()
    with reading_all_the_time(any_database, threads=3, pause=0.005) as readers:
        # Behind transactions that do not end, patience has no use; without them it keeps its own length.
        with monkeypatch.context() as patched, long_transactions(any_database) as cursors:
            patched.setattr(retention, "_PATIENCE_SECONDS", 0.5)
            patched.setattr(earlier, "_PLANNING_SECONDS", 0.3)
            for day in (4, 5, 6):
                one = night(tmp_path, any_database, ds=f"2026-01-{day:02d}", overrides=KEEP_TWO)
                assert one.publish().metrics["live"] == 1
            operations.rollback(settings, who="ann", why="odd lists")
            operations.promote(settings, date(2026, 1, 6), force=True, who="ann", why="fine after all")
            assert live_number(tmp_path, any_database) == ("2026-01-06", 1)
            assert left_over(any_database), "nothing was left to prune behind the readers"
            answers = read_parts(cursors[1])
            assert {tag_of(item) for items in answers.values() for item in items} == {"2026-01-03/r1"}
        operations.prune(settings, 2, who="ann")
        assert left_over(any_database) == set()
    assert readers.faults == []
    assert not readers.breaks
    assert witness.waits_of_readers() == []


def test_quiet_while_a_view_is_replaced_behind_long_transactions(
    tmp_path: Path, any_database: DatabaseConfig, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It steps back each time, and the run is retried: a view can't be replaced while somebody uses it."""
    night(tmp_path, any_database).publish()
    changed = tuple(Script(s.name, s.text + "\n-- later thought") if s.replaceable else s for s in scripts())
    monkeypatch.setattr(migrations, "scripts", lambda: changed)
    with reading_all_the_time(any_database, threads=3, pause=0.005) as readers:
        with monkeypatch.context() as patched:
            patched.setattr(migrations, "_PATIENCE_SECONDS", 2.0)
            with (
                long_transactions(any_database),
                pytest.raises(DatabaseUnavailableError, match="lock timeout"),
                connected(any_database) as connection,
            ):
                migrate(connection, any_database)
        with connected(any_database) as connection:
            assert not migrate(connection, any_database).current
            assert migrate(connection, any_database).current
    assert readers.faults == []
    assert witness.longest_wait_of_a_reader() < LONGEST_WHILE_REPLACED


def test_quiet_the_witness_tells(tmp_path: Path, any_database: DatabaseConfig, witness: Witness) -> None:
    night(tmp_path, any_database).publish()
    with connected(any_database) as connection, connection.cursor() as cursor:
        cursor.execute("lock table recs.user_lists in access exclusive mode")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(rows_of_view, any_database)
            time.sleep(0.3)
            connection.rollback()
            assert asked.result() == 200
    assert witness.waits_of_readers()
    assert witness.longest_wait_of_a_reader() > 200


def rows_of_view(database: DatabaseConfig) -> int:
    """How many rows the plain view has."""
    with closing(psycopg2.connect(database_url(database))) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from recs.lists")
        return cursor.fetchone()[0]
