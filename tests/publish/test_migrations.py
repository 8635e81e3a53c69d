"""Migrations: once, in order, under a lock, and refused when history was rewritten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recjobs.errors import PublishError, SettingsError
from recjobs.publish import connection as connection_module
from recjobs.publish import migrations
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from recjobs.publish.migrations import Script, Status, migrate, scripts, status
from tests.publish.composed import night


def run(database: DatabaseConfig) -> Status:
    with connected(database) as connection:
        return migrate(connection, database)


def test_files_are_applied_in_order_once(any_database: DatabaseConfig) -> None:
    names = [script.name for script in scripts()]
    assert names[:2] == ["migrations/0001_generations", "migrations/0002_lists"]
    before = run(any_database)
    assert (before.applied, list(before.pending)) == ((), names)
    assert run(any_database).current
    with connected(any_database) as connection:
        assert list(status(connection, any_database).applied) == names


def test_many_at_once_apply_each_file_once(any_database: DatabaseConfig) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: run(any_database), range(6)))
    assert sum(not before.current for before in found) == 1 or all(before.changed == () for before in found)
    with connected(any_database) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from recs.schema_migrations")
        assert cursor.fetchone() == (len(scripts()),)


def with_changed(monkeypatch: pytest.MonkeyPatch, name: str, addition: str) -> None:
    changed = tuple(Script(s.name, s.text + addition) if s.name == name else s for s in scripts())
    monkeypatch.setattr(migrations, "scripts", lambda: changed)


def test_a_numbered_file_that_changed_is_refused(database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    run(database)
    with_changed(monkeypatch, "migrations/0002_lists", "\n-- later thought")
    with pytest.raises(PublishError, match=r"0002_lists was applied and has changed since. Restore the file"):
        run(database)


def test_lists_stored_before_they_were_packed_read_the_same(
    database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("migrations/0001_generations", "migrations/0002_lists", "views/versions")
    old = tuple(script for script in scripts() if script.name in names)
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "scripts", lambda: old)
        run(database)
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("""
            insert into recs.generations (dataset, ds, seq, run, state) values ('d', '2026-01-05', 1, 'r', 'live');
            insert into recs.live (generation) values (1);
            create table recs.user_lists_g1 partition of recs.user_lists for values in (1);
            create table recs.segment_lists_g1 partition of recs.segment_lists for values in (1);
            create table recs.item_lists_g1 partition of recs.item_lists for values in (1);
            insert into recs.user_lists values (1, 'home', 'u1', '{a,b,c}', '{3,2,1}', '{new,old,new}', 'warm');
            insert into recs.segment_lists values (1, 'home', 'all', '{d}', '{9}', '{popular}');
            insert into recs.item_lists values (1, 'a', '{b,c}', '{1,0.5}');
        """)
        connection.commit()
        run(database)
        cursor.execute("select item_id, score, reason from recs.get_list('u1', n => 4)")
        assert cursor.fetchall() == [("a", 3, "new"), ("b", 2, "old"), ("c", 1, "new"), ("d", 9, "popular")]
        cursor.execute("select item_id, score from recs.similar_items('a')")
        assert cursor.fetchall() == [("b", 1), ("c", 0.5)]
        cursor.execute("select reasons from recs.lists_as_of('2026-01-06')")
        assert cursor.fetchall() == [(["new", "old", "new"],)]


def test_a_changed_function_is_replaced(database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    run(database)
    with_changed(monkeypatch, "functions/similar_items", "\n-- later thought")
    assert run(database).pending == ("functions/similar_items",)
    assert run(database).current


def test_a_failing_file_leaves_nothing(database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with_changed(monkeypatch, "functions/similar_items", "; select no_such_column")
    with pytest.raises(PublishError, match="no_such_column"):
        run(database)
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_namespace where nspname = 'recs'")
        assert cursor.fetchone() == (0,)


def test_two_schemas_live_side_by_side(tmp_path: Path, database: DatabaseConfig) -> None:
    other = database.model_copy(update={"schema_name": "recs_other"})
    night(tmp_path, database, ds="2026-01-04").publish()
    night(tmp_path, other, ds="2026-01-05").publish()
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("select (select ds::text from recs.live_generation), ds::text from recs_other.live_generation")
        assert cursor.fetchone() == ("2026-01-04", "2026-01-05")


def test_without_the_right_to_make_roles_the_schema_is_made_all_the_same(
    database: DatabaseConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "READER", "recs_reader_of_nobody")
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("reset role")
        cursor.execute("select current_database()")
        name = cursor.fetchone()[0]
        cursor.execute(f"create role plain_{name}")
        cursor.execute(f'grant create on database "{name}" to plain_{name}')
        connection.commit()
        cursor.execute(f"set session authorization plain_{name}")
        connection.commit()
        migrate(connection, database)
        assert status(connection, database).current
    assert "Let an administrator run: CREATE ROLE recs_reader_of_nobody" in caplog.text


def test_a_connection_that_is_older_than_the_roles_acts_as_the_writer(
    database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two runs at once on a new server own tables that the other may not touch."""
    late = "recs_writer_made_late"
    monkeypatch.setattr(migrations, "WRITER", late)
    monkeypatch.setattr(connection_module, "WRITER", late)
    with connected(database) as first, connected(database) as second:
        migrate(first, database)
        migrate(second, database)
        for connection in (first, second):
            with connection, connection.cursor() as cursor:
                cursor.execute("select current_user")
                assert cursor.fetchone() == (late,)


def test_what_else_is_in_the_schema_keeps_its_rights(database: DatabaseConfig) -> None:
    run(database)
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("create function recs.theirs() returns int language sql as 'select 1'")
        cursor.execute("delete from recs.schema_migrations where name = 'functions/get_list'")
        connection.commit()
        assert run(database).pending == ("functions/get_list",)
        cursor.execute(
            "select p.proname, has_function_privilege('pg_monitor', p.oid, 'execute') from pg_proc p "
            "join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'recs' order by 1"
        )
        rights = dict(cursor.fetchall())
    assert [name for name, everybody in rights.items() if everybody] == ["theirs"]
    assert "get_list" in rights


def test_a_schema_of_somebody_else_is_refused(database: DatabaseConfig) -> None:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("reset role; create schema app")
        connection.commit()
    app = database.model_copy(update={"schema_name": "app"})
    run(database)
    with pytest.raises(
        SettingsError, match=r"schema app belongs to recjobs, not to recs_writer.*ALTER SCHEMA app OWNER"
    ):
        run(app)
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("select from pg_class where relnamespace = 'app'::regnamespace")
        assert cursor.rowcount == 0


def test_a_schema_that_a_newer_version_made_is_refused(database: DatabaseConfig) -> None:
    run(database)
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("insert into recs.schema_migrations values ('migrations/0099_future', 'x')")
        connection.commit()
        assert status(connection, database).unknown == ("migrations/0099_future",)
    with pytest.raises(PublishError, match="0099_future was applied by a newer version of recjobs"):
        run(database)
