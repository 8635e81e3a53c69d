"""`recjobs db`: what is there, who can read, and which server is too old; psql on the same settings."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from recjobs.errors import SettingsError
from recjobs.publish import inspection, migrations
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from recjobs.publish.migrations import migrate, scripts
from tests.cli.shop import CONFIG, Shop
from tests.publish.composed import night, settings_for


@pytest.fixture
def shop(tmp_path: Path, database: DatabaseConfig) -> Shop:
    """A config whose database is empty."""
    assert database.url
    found = Shop(tmp_path)
    found.config.write_text(CONFIG.format(folder=tmp_path, url=database.url.get_secret_value()))
    return found


def status(shop: Shop) -> dict[str, Any]:
    ended = shop.recjobs("db", "status", "--json")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_status_of_an_empty_database_says_what_to_do(shop: Shop) -> None:
    ended = shop.recjobs("db", "status")
    assert ended.returncode == 0, ended.stderr
    assert f"migrations pending: {len(scripts())} (migrations/0001_generations, " in ended.stdout
    assert "not looked at: `recjobs db migrate` mends the schema" in ended.stdout
    assert (status(shop)["live"], status(shop)["stored"]) == (None, [])


def test_status_tells_server_live_and_sizes(shop: Shop, tmp_path: Path, database: DatabaseConfig) -> None:
    for day in (4, 5):
        night(tmp_path, database, ds=f"2026-01-0{day}").publish()
    found = status(shop)
    assert found["server"].split(".")[0].isdigit()
    assert (found["pending"], found["changed"], len(found["applied"])) == ([], [], len(scripts()))
    assert (found["acts_as"], found["missing_roles"]) == ("recs_writer", [])
    assert (found["live"]["ds"], found["live"]["seq"]) == ("2026-01-05", 1)
    assert [(one["ds"], one["state"]) for one in found["stored"]] == [
        ("2026-01-05", "live"),
        ("2026-01-04", "superseded"),
    ]
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            r"select sum(pg_total_relation_size(oid))::bigint from pg_class where relname like '%lists\_g2' "
            "and relnamespace = 'recs'::regnamespace"
        )
        assert cursor.fetchone() == (found["stored"][0]["bytes"],)
    shown = shop.recjobs("db", "status").stdout
    assert "live: 2026-01-05 seq 1, run r1, since" in shown
    assert f"server: PostgreSQL {found['server']} at {parse_dsn(url_of(database))['host']}" in shown


def test_status_tells_which_logins_can_read(shop: Shop, tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database).publish()
    name = parse_dsn(url_of(database))["dbname"]
    good, barred, stranger = (f"{role}_{name}" for role in ("good", "barred", "stranger"))
    with closing(psycopg2.connect(url_of(database))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"create role {good} login in role recs_reader; create role {stranger} login")
        # In the role, but using none of its rights by itself: what PostgreSQL calls noinherit.
        cursor.execute(f"create role {barred} login noinherit in role recs_reader")
        try:
            logins = status(shop)["logins"]
            shown = shop.recjobs("db", "status").stdout
        finally:
            cursor.execute(f"drop role {good}; drop role {barred}; drop role {stranger}")
    assert (logins.get(good), logins.get(barred), stranger in logins) == (True, False, False)
    assert f"{barred} (can NOT read: see docs/reading.md)" in shown


def test_a_missing_role_is_named(tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    night(tmp_path, database).publish()
    monkeypatch.setattr(inspection, "READER", "recs_reader_of_nobody")
    found = inspection.overview(settings_for(tmp_path, database))
    assert (found.missing_roles, found.logins) == (("recs_reader_of_nobody",), ())


def test_a_server_that_is_too_old_is_refused_by_both_versions(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "OLDEST_SERVER", 99)
    said = r"127\.0\.0\.1:\d+/\w+: the server is PostgreSQL 1\d\.\d+.*, and 99 or later is needed"
    with connected(database) as connection, pytest.raises(SettingsError, match=said):
        migrate(connection, database)
    with pytest.raises(SettingsError, match=said):
        inspection.overview(settings_for(tmp_path, database))
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_namespace where nspname = 'recs'")
        assert cursor.fetchone() == (0,)


def test_psql_takes_the_options_of_all_commands(shop: Shop, database: DatabaseConfig) -> None:
    right = url_of(database)
    shop.config.write_text(shop.config.read_text().replace(right, "postgresql://nobody@127.0.0.1:1/none"))
    ended = subprocess.run(
        [sys.executable, "-m", "recjobs", "db", "psql", "-c", str(shop.config), "-s", f"database.url={right}",
         "--", "-X", "-A", "-t", "-c", "select current_database()"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == parse_dsn(right)["dbname"]


def url_of(database: DatabaseConfig) -> str:
    assert database.url
    return database.url.get_secret_value()
