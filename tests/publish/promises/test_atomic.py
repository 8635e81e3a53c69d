"""Atomic: a reader sees all of one generation or all of another, never a mix, never none."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import extensions

from recjobs.publish import operations, retention
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected, database_url
from tests.publish.composed import night, settings_for
from tests.publish.promises.readers import read_parts, reading_all_the_time, tag_of
from tests.publish.promises.state import left_over


def test_atomic_under_promotion_back_and_forth(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    night(tmp_path, database, ds="2026-01-01").publish()
    night(tmp_path, database, ds="2026-01-02").publish()
    with reading_all_the_time(database) as readers:
        ends = time.monotonic() + 3
        switches = 0
        while time.monotonic() < ends:
            operations.rollback(settings, who="test", why="forth")
            operations.promote(settings, date(2026, 1, 2), force=True, who="test", why="back")
            switches += 2
    assert readers.faults == []
    assert set(readers.seen) == {"2026-01-01/r1", "2026-01-02/r1"}
    assert sum(readers.seen.values()) > 50
    assert switches > 10


def test_atomic_while_nights_are_loaded_and_pruned(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database, ds="2026-01-01").publish()
    with reading_all_the_time(database) as readers:
        for day in range(2, 8):
            night(tmp_path, database, ds=f"2026-01-{day:02d}", overrides={"publish.keep_generations": 2}).publish()
    assert readers.faults == []
    assert "2026-01-07/r1" in readers.seen or len(readers.seen) > 1


def test_atomic_for_a_reader_whose_plan_is_older_than_the_promotion(
    tmp_path: Path, any_database: DatabaseConfig
) -> None:
    """Postgres plans a statement first and takes its snapshot then: a plan without the new partition finds nothing."""
    for day in (1, 2):
        night(tmp_path, any_database, ds=f"2026-01-{day:02d}").publish()
    slow_to_plan(any_database)
    with ThreadPoolExecutor(1) as pool:
        for day in range(3, 7):
            asked = pool.submit(rows, any_database, "select item_id from recs.lists where user_id = slowly('u5')")
            time.sleep(0.05)
            night(tmp_path, any_database, ds=f"2026-01-{day:02d}").publish()
            found = asked.result()
            assert len(found) == 10
            assert len({tag_of(item) for (item,) in found}) == 1


def slow_to_plan(database: DatabaseConfig) -> None:
    """Makes a function that the planner calls for its estimates, and that takes its time."""
    with connected(database) as connection, connection, connection.cursor() as cursor:
        cursor.execute("reset role")
        cursor.execute(
            "create function slowly(text) returns text language plpgsql stable as "
            "$$ begin perform pg_sleep(0.05); return $1; end $$"
        )


def rows(database: DatabaseConfig, statement: str) -> list[tuple[str]]:
    with closing(psycopg2.connect(database_url(database))) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_atomic_for_a_snapshot_that_is_older_than_a_prune(
    tmp_path: Path, any_database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has locked no list yet, and its generation stays readable while two nights replace and prune it."""
    keep_two = {"publish.keep_generations": 2}
    monkeypatch.setattr(retention, "_PATIENCE_SECONDS", 0.3)
    night(tmp_path, any_database, ds="2026-01-01", overrides=keep_two).publish()
    with closing(psycopg2.connect(database_url(any_database))) as connection:
        connection.set_session(isolation_level=extensions.ISOLATION_LEVEL_REPEATABLE_READ)
        with connection, connection.cursor() as cursor:
            cursor.execute("select ds::text from recs.live_generation")
            assert cursor.fetchall() == [("2026-01-01",)]
            for day in (2, 3, 4):
                assert (
                    night(tmp_path, any_database, ds=f"2026-01-{day:02d}", overrides=keep_two).publish().metrics["live"]
                )
            answers = read_parts(cursor)
        assert {tag_of(item) for items in answers.values() for item in items} == {"2026-01-01/r1"}
        with connection, connection.cursor() as cursor:
            assert {part: len(items) for part, items in read_parts(cursor).items()} == {
                part: len(items) for part, items in answers.items()
            }
    night(tmp_path, any_database, ds="2026-01-05", overrides=keep_two).publish()
    assert left_over(any_database) == set()
