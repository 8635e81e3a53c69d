"""Errors of the database as ours: they name the place and the fix, and never the password."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from recjobs.errors import DatabaseUnavailableError, PublishError, SettingsError
from recjobs.publish import embedded, reading
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connect, connected, database_url, named_errors
from tests.database import free_port, own_server
from tests.publish.composed import night, settings_for

SECRET = "s3cr:t/p%40ss"


def told(kind: type[Exception], url: str) -> str:
    with pytest.raises(kind) as caught:
        connect(DatabaseConfig(url=SecretStr(url), connect_timeout=2))
    for secret in ("s3cr", "p%40ss", "p@ss"):
        assert secret not in str(caught.value)
    return str(caught.value)


def test_nobody_listens() -> None:
    port = free_port()
    said = told(DatabaseUnavailableError, f"postgresql://app:s3cr%3At@127.0.0.1:{port}/shop")
    assert f"database 127.0.0.1:{port}/shop does not answer" in said
    assert "set database.url" in said


def test_a_url_that_can_not_be_read() -> None:
    assert "Write it as postgresql://" in told(SettingsError, "postgresql://app:s3cr:t@host:port:1/x?y=p%40ss")


def test_wrong_password_is_not_retried(database: DatabaseConfig) -> None:
    url = re.sub(r":[^:@/]+@", ":s3cret@", database_url(database))
    assert "password authentication failed" in told(PublishError, url)


def test_unknown_database_is_not_retried(database: DatabaseConfig) -> None:
    assert 'database "nowhere" does not exist' in told(
        PublishError, re.sub(r"[^/]+$", "nowhere", database_url(database))
    )


def test_a_driver_in_the_url_is_passed_over(database: DatabaseConfig) -> None:
    url = database_url(database).replace("postgresql://", "postgresql+psycopg2://")
    with connected(DatabaseConfig(url=SecretStr(url))) as connection:
        assert connection.info.dbname == url.rsplit("/", 1)[-1]


def test_a_connection_lost_in_copy_is_retried(database: DatabaseConfig) -> None:
    """psycopg2 says so with its base error, without a SQLSTATE, as seen when a backend was killed in COPY."""
    lost = psycopg2.DatabaseError("server closed the connection unexpectedly")
    with pytest.raises(DatabaseUnavailableError, match="does not answer: server closed"), named_errors(database):
        raise lost


def test_what_went_wrong_first_is_told(database: DatabaseConfig) -> None:
    with pytest.raises(DatabaseUnavailableError, match=r"server closed the connection|terminating connection"):
        end_itself(database)


def end_itself(database: DatabaseConfig) -> None:
    """A session whose backend is ended while it is in a transaction."""
    with connected(database) as connection, connection, connection.cursor() as cursor:
        cursor.execute("reset role")
        cursor.execute("select pg_terminate_backend(pg_backend_pid())")


def test_an_error_in_our_own_code_is_not_retried(database: DatabaseConfig) -> None:
    with pytest.raises(PublishError, match="can't adapt type 'object'"), connected(database) as connection:
        connection.cursor().execute("select %s", (object(),))


def test_the_server_notices_when_we_vanish(database: DatabaseConfig) -> None:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select current_setting('tcp_keepalives_idle')::integer, current_setting('tcp_user_timeout'), "
            "current_setting('client_connection_check_interval')"
        )
        assert cursor.fetchone() == (30, "60000", "5s")


def test_it_tells_the_server_who_it_is(database: DatabaseConfig) -> None:
    with connected(database, purpose="recjobs test") as connection, connection.cursor() as cursor:
        cursor.execute("select current_setting('application_name'), current_setting('statement_timeout')")
        assert cursor.fetchone() == ("recjobs test", "15min")


def test_reading_before_the_first_migration_says_what_to_run(tmp_path: Path, database: DatabaseConfig) -> None:
    with pytest.raises(PublishError, match="run `recjobs db migrate`"):
        reading.show(settings_for(tmp_path, database), "u1")


def test_a_stopped_database_is_one_clear_error_and_live_lists_stay(tmp_path: Path) -> None:
    server = own_server(Path(tempfile.mkdtemp(prefix="recjobs-stopped-")))
    database = DatabaseConfig(url=SecretStr(embedded.start(server)))
    night(tmp_path, database, ds="2026-01-04").publish()
    before = reading.show(settings_for(tmp_path, database), "u1")
    embedded.stop(server)
    with pytest.raises(DatabaseUnavailableError, match=rf"127\.0\.0\.1:{server.embedded_port}/recjobs does not answer"):
        night(tmp_path, database, ds="2026-01-05").publish()
    embedded.start(server)
    assert reading.show(settings_for(tmp_path, database), "u1") == before
    night(tmp_path, database, ds="2026-01-05").publish()
    assert reading.show(settings_for(tmp_path, database), "u1") != before
    embedded.stop(server)
