"""Retention: the newest stay, live and its predecessor always, and nobody who reads is held up."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg2
import pytest

from recjobs.errors import PublishError
from recjobs.publish import operations, promotion, reading
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from tests.publish.composed import night, settings_for
from tests.publish.test_loading import tables


def stored(tmp_path: Path, database: DatabaseConfig) -> list[int]:
    """The days whose lists are stored, newest first."""
    return [g.ds.day for g in reading.versions(settings_for(tmp_path, database)) if g.stored]


def publish(tmp_path: Path, database: DatabaseConfig, *days: int, keep: int = 7) -> None:
    for day in days:
        overrides = {"publish.keep_generations": keep}
        night(tmp_path, database, ds=f"2026-01-{day:02d}", overrides=overrides).publish()


def test_each_night_keeps_the_newest(tmp_path: Path, database: DatabaseConfig) -> None:
    publish(tmp_path, database, 1, 2, 3, 4, 5, keep=3)
    assert stored(tmp_path, database) == [5, 4, 3]
    assert tables(database) == {
        f"{table}_g{generation}" for table in ("user_lists", "item_lists", "segment_lists") for generation in (3, 4, 5)
    }
    assert len(reading.versions(settings_for(tmp_path, database))) == 5


def test_live_and_its_predecessor_stay_whatever_is_newer(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    publish(tmp_path, database, 1, 2, 3, 4, 5, 6)
    operations.rollback(settings, date(2026, 1, 3), who="ann", why="known good")
    assert [g.ds.day for g in operations.prune(settings, 2, who="ann")] == [1, 4]
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("select distinct who, why from recs.audit where action = 'prune'")
        assert cursor.fetchall() == [("ann", "not one of the newest 2")]
    assert stored(tmp_path, database) == [6, 5, 3, 2]
    assert reading.show(settings, "u1")[0].item_id.startswith("2026-01-03")
    operations.rollback(settings, who="ann", why="the one before")
    assert reading.show(settings, "u1")[0].item_id.startswith("2026-01-02")


def test_pruned_lists_can_not_go_live(tmp_path: Path, database: DatabaseConfig) -> None:
    publish(tmp_path, database, 1, 2, 3, keep=2)
    with pytest.raises(
        PublishError, match=r"2026-01-01 seq 1 can't go live: its lists were pruned. Run that date again"
    ):
        operations.rollback(settings_for(tmp_path, database), date(2026, 1, 1), who="ann", why="mistake")


def test_a_generation_that_nobody_promoted_is_not_kept_for_good(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise SystemExit("killed between load and promotion")

    with monkeypatch.context() as patched:
        patched.setattr(promotion, "publish", crash)
        with pytest.raises(SystemExit):
            publish(tmp_path, database, 1)
    publish(tmp_path, database, 2, 3, keep=2)
    assert stored(tmp_path, database) == [3, 2]


def test_the_fence_remembers_pruned_generations(tmp_path: Path, database: DatabaseConfig) -> None:
    publish(tmp_path, database, 1, 2, 3, keep=2)
    late = night(tmp_path, database, ds="2026-01-01", run="r2").publish()
    assert late.metrics["live"] == 0


def test_a_long_reader_delays_the_drop_not_the_night(tmp_path: Path, database: DatabaseConfig) -> None:
    publish(tmp_path, database, 1, 2)
    with connected(database) as reader, reader.cursor() as cursor:
        # Often enough for a plan that names, and so locks, every partition.
        for _ in range(10):
            cursor.execute("select item_id from recs.get_list('u1', 'home', 1)")
        before = cursor.fetchall()
        started = time.perf_counter()
        publish(tmp_path, database, 3, keep=2)
        assert time.perf_counter() - started < 20
        with connected(database) as other, other.cursor() as second:
            asked = time.perf_counter()
            second.execute("select item_id from recs.get_list('u1', 'home', 1)")
            assert second.fetchall() == [("2026-01-03/r1 i0",)]
            assert time.perf_counter() - asked < 1
        assert before == [("2026-01-02/r1 i0",)]
    assert stored(tmp_path, database) == [3, 2]
    assert len(tables(database)) > 6
    operations.prune(settings_for(tmp_path, database), who="ann")
    assert len(tables(database)) == 6


def test_thirty_nights_take_no_more_room_than_ten(tmp_path: Path, database: DatabaseConfig) -> None:
    sizes: dict[int, Sizes] = {}
    for number in range(1, 31):
        publish(tmp_path, database, number, keep=3)
        vacuum(database)
        sizes[number] = sizes_of(database)
    tenth, last = sizes[10], sizes[30]
    assert last.lists <= tenth.lists + 2 * PAGE
    assert last.pointer == tenth.pointer
    # A row a generation and two lines of audit stay for good: 20 nights of them.
    assert last.records <= tenth.records + 4 * PAGE
    assert last.catalog <= tenth.catalog + 12 * PAGE
    assert tables(database) == {
        f"{table}_g{generation}"
        for table in ("user_lists", "item_lists", "segment_lists")
        for generation in (28, 29, 30)
    }
    assert leftovers(database) == []
    assert len(reading.versions(settings_for(tmp_path, database))) == 30


PAGE = 8192
RECORDS = ("generations", "audit")


@dataclass(frozen=True)
class Sizes:
    """Bytes on disk, indexes and TOAST included."""

    lists: int
    """The list tables of all stored generations."""
    records: int
    """`generations` and `audit`, which grow by design."""
    pointer: int
    """`live`, updated each night."""
    catalog: int
    """PostgreSQL's own tables, which every table made and dropped passes through."""


def sizes_of(database: DatabaseConfig) -> Sizes:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select n.nspname, c.relname, pg_total_relation_size(c.oid) from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace "
            "where c.relkind = 'r' and n.nspname in ('recs', 'pg_catalog') and not c.relisshared"
        )
        found = {(schema, table): size for schema, table, size in cursor.fetchall()}
    lists = sum(size for (schema, table), size in found.items() if schema == "recs" and "_lists_g" in table)
    catalog = sum(size for (schema, _), size in found.items() if schema == "pg_catalog")
    return Sizes(lists, sum(found["recs", table] for table in RECORDS), found["recs", "live"], catalog)


def vacuum(database: DatabaseConfig) -> None:
    """What autovacuum does between two nights, which here are less than a second apart."""
    assert database.url
    with closing(psycopg2.connect(database.url.get_secret_value())) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("vacuum")


def leftovers(database: DatabaseConfig) -> list[str]:
    """Tables, types and constraints' tables of generations that are not stored, and partitions half detached."""
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            r"select t.typname from pg_type t where t.typnamespace = 'recs'::regnamespace and t.typname ~ '_g\d+$' "
            "and substring(t.typname from '[0-9]+$')::integer not in (select generation from recs.generations "
            "  where pruned_at is null) "
            "union all select c.relname from pg_class c where c.relnamespace = 'pg_toast'::regnamespace "
            "  and substring(c.relname from '^pg_toast_([0-9]+)')::oid not in (select oid from pg_class) "
            "union all select inhrelid::regclass::text from pg_inherits where inhdetachpending"
        )
        return [name for (name,) in cursor.fetchall()]


def test_two_that_prune_at_once_do_not_stumble_over_each_other(tmp_path: Path, database: DatabaseConfig) -> None:
    publish(tmp_path, database, *range(1, 9))
    settings = settings_for(tmp_path, database)
    with ThreadPoolExecutor(4) as pool:
        dropped = [
            day.ds.day
            for days in pool.map(lambda _: operations.prune(settings, 2, who="ann"), range(4))
            for day in days
        ]
    assert sorted(dropped) == [2, 3, 4, 5, 6]
    assert len(tables(database)) == 6
