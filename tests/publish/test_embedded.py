"""The embedded server: started once, found again, stopped, and clear about what keeps it from starting."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import extensions

from recjobs.errors import DatabaseUnavailableError, SettingsError
from recjobs.publish import embedded
from recjobs.publish.config import DatabaseConfig
from tests.database import free_port, own_server


@pytest.fixture(scope="module")
def config() -> Iterator[DatabaseConfig]:
    config = own_server(Path(tempfile.mkdtemp(prefix="recjobs-embedded-")))
    embedded.start(config)
    yield config
    embedded.stop(config)


def value(url: str, statement: str) -> object:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]
    finally:
        connection.close()


def test_it_is_postgres_18_with_fsync_on_and_no_socket_file(config: DatabaseConfig) -> None:
    url = embedded.embedded_url(config)
    assert str(value(url, "show server_version")).startswith("18.")
    assert value(url, "show fsync") == "on"
    assert value(url, "show unix_socket_directories") == ""
    assert value(url, "show listen_addresses") == "127.0.0.1"


def test_a_wrong_password_is_refused(config: DatabaseConfig) -> None:
    wrong = f"postgresql://{embedded.USER}:wrong@127.0.0.1:{config.embedded_port}/{embedded.DATABASE}"
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(wrong)


def test_the_password_is_for_its_owner_alone(config: DatabaseConfig) -> None:
    password = Path(config.embedded_folder) / "password"
    assert password.stat().st_mode & 0o777 == 0o600
    assert len(password.read_text()) >= 32


def test_started_again_it_is_the_same_server(config: DatabaseConfig) -> None:
    before = embedded.running(config)
    assert embedded.start(config) == embedded.embedded_url(config)
    assert embedded.running(config) == before


def test_another_process_finds_it_whatever_port_it_is_told(config: DatabaseConfig) -> None:
    other = config.model_copy(update={"embedded_port": free_port()})
    script = f"from tests.publish.test_embedded import *; print(embedded.start({other!r}))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert said.stdout.strip() == embedded.embedded_url(config)


def test_databases_are_made_once_and_keep_their_data(config: DatabaseConfig) -> None:
    url = embedded.ensure_database(config, "airflow")
    assert url.endswith("/airflow")
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("create table kept (n integer)")
    connection.close()
    assert embedded.ensure_database(config, "airflow") == url
    assert embedded.stop(config)
    assert embedded.running(config) is None
    assert not embedded.stop(config)
    embedded.start(config)
    assert value(url, "select count(*) from kept") == 0


def test_a_killed_server_is_started_again_over_its_stale_pid_file(config: DatabaseConfig) -> None:
    running = embedded.running(config)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    while embedded.running(config) is not None:
        pass
    assert (Path(config.embedded_folder) / "data" / "postmaster.pid").exists()
    assert value(embedded.start(config), "select 1") == 1


def test_started_again_it_waits_for_what_a_killed_server_left_at_work(config: DatabaseConfig) -> None:
    busy = "select count(*) from (select md5(i::text) from generate_series(1, 1500000) i order by 1) sorted"
    running = embedded.running(config)
    assert running is not None
    with contextlib.closing(psycopg2.connect(embedded.embedded_url(config), async_=True)) as orphan:
        wait_for(orphan)
        cursor = orphan.cursor()
        cursor.execute(busy)
        time.sleep(0.2)
        os.kill(running.pid, signal.SIGKILL)
        assert value(embedded.start(config), "select 1") == 1


def wait_for(connection: extensions.connection) -> None:
    """Until an asynchronous connection has its answer."""
    while (state := connection.poll()) != extensions.POLL_OK:
        reads, writes = ([connection], []) if state == extensions.POLL_READ else ([], [connection])
        select.select(reads, writes, [], 60)


def test_a_pid_file_that_names_some_other_process_is_no_server(config: DatabaseConfig) -> None:
    embedded.stop(config)
    pid_file = Path(config.embedded_folder) / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n1\n{config.embedded_port}\n\n127.0.0.1\n\nready\n")
    assert embedded.running(config) is None
    assert value(embedded.start(config), "select 1") == 1


def test_a_taken_port_names_the_setting_to_change() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = own_server(Path(tempfile.mkdtemp(prefix="recjobs-taken-")))
        config = config.model_copy(update={"embedded_port": taken.getsockname()[1]})
        with pytest.raises(SettingsError, match=rf"port {config.embedded_port} .* taken .* database\.embedded_port"):
            embedded.start(config)


def test_the_url_of_a_server_that_was_never_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError, match=r"not made yet. `recjobs db migrate` starts it"):
        embedded.embedded_url(DatabaseConfig(embedded_folder=str(tmp_path / "pg")))


def test_a_damaged_server_says_what_its_log_says(config: DatabaseConfig) -> None:
    embedded.stop(config)
    settings = Path(config.embedded_folder) / "data" / "postgresql.conf"
    intact = settings.read_text()
    settings.write_text(intact + "\nno_such_setting = 1\n")
    try:
        with pytest.raises(DatabaseUnavailableError, match="no_such_setting"):
            embedded.start(config)
    finally:
        settings.write_text(intact)
        embedded.start(config)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is in the position to need another folder")
def test_started_by_root_in_a_closed_folder_the_data_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Path(tempfile.mkdtemp(prefix="recjobs-elsewhere-"))
    elsewhere.chmod(0o755)
    monkeypatch.setattr(embedded, "FALLBACK", elsewhere)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    config = DatabaseConfig(embedded_folder=str(closed / "pg"), embedded_port=free_port())
    try:
        assert value(embedded.start(config), "select 1") == 1
        assert not (closed / "pg").exists()
        assert list(elsewhere.glob("*/data/PG_VERSION"))
    finally:
        embedded.stop(config)
        shutil.rmtree(elsewhere)
