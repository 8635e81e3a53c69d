"""The examples of docs/reading.md, run as they are: by a login that is only a reader, on published lists."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn
from pydantic import SecretStr

from recjobs.publish import embedded
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from recjobs.publish.migrations import migrate
from tests.database import free_port
from tests.publish.composed import night

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "examples"
DAY = "2026-01-05/r1"
LISTS = {
    "home": [f"{DAY} i0", f"{DAY} i1", f"{DAY} i2"],
    "stranger": [f"{DAY} country=GB i0", f"{DAY} country=GB i1", f"{DAY} country=GB i2"],
    "similar": [f"{DAY} i3", f"{DAY} i4", f"{DAY} i5"],
    "session": [f"{DAY} i3", f"{DAY} i4", f"{DAY} i5"],
}
EVERYBODYS = [f"{DAY} all i0", f"{DAY} all i1", f"{DAY} all i2"]
ASKED = ("u1", "country=GB", "i2")
PASSWORD = "of 'this' & test"
PROGRAMS = ("read_psycopg.py", "read_sqlalchemy.py", "read_node.mjs")


@pytest.fixture
def published(tmp_path: Path, database: DatabaseConfig) -> DatabaseConfig:
    night(tmp_path, database).publish()
    return database


@pytest.fixture
def reader(published: DatabaseConfig) -> Iterator[str]:
    """The URL of a login that make_reader.sql made; nothing else was granted to it."""
    with login(published, "shop") as (name, url):
        variables = {"READER_PASSWORD": PASSWORD}
        done = psql(admin(published), "make_reader.sql", {"login": name}, variables)
        assert done.returncode == 0, done.stderr
        yield url


@contextmanager
def login(database: DatabaseConfig, name: str) -> Iterator[tuple[str, str]]:
    """A login's name, one per database because logins belong to the server, and its URL; dropped at the end."""
    parts = parse_dsn(admin(database))
    unique = f"{name}_{parts['dbname']}"
    yield unique, make_url(**{**parts, "user": unique, "password": PASSWORD})
    with closing(psycopg2.connect(admin(database))) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"drop owned by {unique}; drop role {unique}")


def make_url(*, user: str, password: str, host: str, port: str, dbname: str) -> str:
    from urllib.parse import quote

    return f"postgresql://{user}:{quote(password)}@{host}:{port}/{dbname}"


def admin(database: DatabaseConfig) -> str:
    assert database.url
    return database.url.get_secret_value()


def psql(
    url: str, script: str, variables: dict[str, str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs one of the scripts with psql, rows without decoration."""
    settings = [f"--set={name}={value}" for name, value in variables.items()]
    return subprocess.run(
        [str(embedded.binary("psql")), "-X", "-q", "-A", "-t", *settings, "-f", str(EXAMPLES / script), make_dsn(url)],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **(environment or {})},
    )  # fmt: skip


def run(command: list[str], url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": url}
    return subprocess.run(
        [*command, *ASKED], capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=folder
    )


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the Node example with its packages, as `npm install` makes it."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not on this machine")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "read_node.mjs"):
        shutil.copy(EXAMPLES / name, folder)
    command = ["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        if any(sign in done.stderr for sign in ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT", "ECONNRESET")):
            pytest.skip("npm's registry can't be reached")
        pytest.fail(done.stderr)
    return folder


def command_of(example: str, request: pytest.FixtureRequest) -> tuple[list[str], Path]:
    if example.endswith(".mjs"):
        return ["node", example], request.getfixturevalue("node")
    return [sys.executable, example], EXAMPLES


@pytest.mark.parametrize("example", PROGRAMS)
def test_an_app_gets_its_lists(example: str, reader: str, request: pytest.FixtureRequest) -> None:
    command, folder = command_of(example, request)
    done = run(command, reader, folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == LISTS
    assert done.stderr == ""


@pytest.mark.parametrize("example", PROGRAMS)
def test_an_app_starts_and_shows_nothing_while_the_database_is_down(
    example: str, request: pytest.FixtureRequest
) -> None:
    command, folder = command_of(example, request)
    done = run(command, f"postgresql://shop:secret@127.0.0.1:{free_port()}/app", folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: [] for name in LISTS}
    assert "lists:" in done.stderr or "error connecting" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("example", PROGRAMS)
def test_an_app_is_told_of_a_right_that_is_missing(
    example: str, published: DatabaseConfig, request: pytest.FixtureRequest
) -> None:
    command, folder = command_of(example, request)
    with login(published, "nobody") as (name, url), closing(psycopg2.connect(admin(published))) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"create role {name} login password %s", (PASSWORD,))
        done = run(command, url, folder)
    assert done.returncode != 0
    assert "permission denied for schema recs" in done.stderr


def test_plain_sql_gets_every_kind_of_list(reader: str) -> None:
    user, segment, item = ASKED
    done = psql(reader, "read.sql", {"user_id": user, "segment": segment, "item_id": item})
    assert (done.returncode, done.stderr) == (0, "")
    mine = [f"{place}|{DAY} i{place - 1}|home for you" for place in (1, 2, 3)]
    segments = [f"{place}|{DAY} country=GB i{place - 1}|popular" for place in (1, 2, 3)]
    alike = [f"{place}|{DAY} i{place + 2}|similar to i2" for place in (1, 2, 3)]
    assert done.stdout.splitlines() == [
        *mine, *segments, *alike, *alike, *mine, *mine, f"2026-01-05|{DAY} i0", f"{DAY} i0", f"{DAY} i0"
    ]  # fmt: skip


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def running_app(program: str, url: str, request: pytest.FixtureRequest) -> Iterator[Callable[[str], list[str]]]:
    """The example inside a process that goes on: a function from a user to the ids shown on `home`."""
    if program.endswith(".mjs"):
        with node_app(url, request.getfixturevalue("node")) as home:
            yield home
        return
    with closing(example(program.removesuffix(".py")).Lists(url)) as lists:
        yield lambda user: [item.item_id for item in lists.home(user, n=3)]


NODE_APP = """
import readline from "node:readline";
import { openLists } from "./read_node.mjs";
const lists = openLists(process.env.DATABASE_URL);
for await (const user of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify((await lists.home(user, null, 3)).map((item) => item.item_id)));
}
await lists.close();
"""


@contextmanager
def node_app(url: str, folder: Path) -> Iterator[Callable[[str], list[str]]]:
    (folder / "app.mjs").write_text(NODE_APP)
    environment = {**os.environ, "DATABASE_URL": url}
    with subprocess.Popen(
        ["node", "app.mjs"], cwd=folder, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        asked, answered = process.stdin, process.stdout

        def home(user: str) -> list[str]:
            print(user, file=asked, flush=True)
            shown: list[str] = json.loads(answered.readline())
            return shown

        try:
            yield home
        finally:
            asked.close()
    assert process.returncode == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_app_shows_everybodys_list_while_the_database_hangs(
    program: str, published: DatabaseConfig, reader: str, request: pytest.FixtureRequest
) -> None:
    with running_app(program, reader, request) as home:
        assert home("u1") == LISTS["home"]
        with closing(psycopg2.connect(admin(published))) as other, other, other.cursor() as cursor:
            # All readers wait for this. The login's own limit has to end it: this one is only for a test that fails.
            cursor.execute("set idle_in_transaction_session_timeout = '15s'")
            cursor.execute("lock table recs.live in access exclusive mode")
            assert home("u1") == EVERYBODYS
        assert home("u1") == LISTS["home"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_app_reads_on_after_its_connections_were_killed(
    program: str, published: DatabaseConfig, reader: str, request: pytest.FixtureRequest
) -> None:
    with running_app(program, reader, request) as home:
        assert home("u1") == LISTS["home"]
        with closing(psycopg2.connect(admin(published))) as other, other, other.cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = %s",
                (parse_dsn(reader)["user"],),
            )
            assert cursor.rowcount >= 1
        # Node's pool hears of it by an event; a request that comes before it is shown everybody's list.
        time.sleep(0.3)
        assert home("u1") == LISTS["home"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_app_goes_on_with_the_next_night(
    program: str, tmp_path: Path, published: DatabaseConfig, reader: str, request: pytest.FixtureRequest
) -> None:
    with running_app(program, reader, request) as home:
        for _ in range(10):  # more than any driver needs to prepare, and Postgres to settle on a plan
            home("u1")
        (tmp_path / "next").mkdir()
        night(tmp_path / "next", published, ds="2026-01-06").publish()
        assert home("u1") == ["2026-01-06/r1 i0", "2026-01-06/r1 i1", "2026-01-06/r1 i2"]


def test_a_reader_has_limits_of_its_own(reader: str) -> None:
    with closing(psycopg2.connect(reader)) as connection, connection.cursor() as cursor:
        cursor.execute("select current_setting('statement_timeout'), current_setting('is_superuser')")
        assert cursor.fetchone() == ("500ms", "off")
        cursor.execute(
            "select array_agg(r.rolname::text) from pg_auth_members m join pg_roles r on r.oid = m.roleid "
            "where m.member = current_user::regrole"
        )
        assert cursor.fetchone() == (["recs_reader"],)


def test_a_reader_can_not_say_what_is_sold_out(reader: str) -> None:
    done = psql(reader, "set_availability.sql", {"item_ids": "{i1}", "available": "false"})
    assert done.returncode != 0
    assert "permission denied for table item_availability" in done.stderr


def test_a_login_with_the_right_takes_items_out_and_back_in(published: DatabaseConfig, reader: str) -> None:
    gone = f'{{"{DAY} i0","{DAY} i2","{DAY} i2"}}'
    with login(published, "stock") as (name, stock):
        make_stock(published, name)
        for available, shown in (
            ("false", ["i1", "i3", "i4"]),
            ("false", ["i1", "i3", "i4"]),
            ("true", ["i0", "i1", "i2"]),
        ):
            done = psql(stock, "set_availability.sql", {"item_ids": gone, "available": available})
            assert (done.returncode, done.stderr) == (0, "")
            with closing(psycopg2.connect(reader)) as connection, connection.cursor() as cursor:
                cursor.execute("select item_id from recs.get_list('u1', 'home', 3)")
                assert cursor.fetchall() == [(f"{DAY} {item}",) for item in shown]


def test_a_login_with_the_right_reads_and_changes_nothing_else(published: DatabaseConfig) -> None:
    with login(published, "stock") as (name, stock):
        make_stock(published, name)
        with closing(psycopg2.connect(stock)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for statement in (
                "select * from recs.get_list('u1')",
                "select * from recs.lists",
                "update recs.live set generation = 1",
                "delete from recs.user_lists",
                "truncate recs.item_availability",
            ):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(statement)


def test_the_right_outlives_migrations(published: DatabaseConfig) -> None:
    with login(published, "stock") as (name, stock):
        make_stock(published, name)
        with connected(DatabaseConfig(url=SecretStr(admin(published)))) as connection:
            with connection, connection.cursor() as cursor:
                cursor.execute("delete from recs.schema_migrations where name !~ '^migrations/'")
            migrate(connection, published)
        done = psql(stock, "set_availability.sql", {"item_ids": "{i1}", "available": "false"})
        assert (done.returncode, done.stderr) == (0, "")


def make_stock(database: DatabaseConfig, name: str) -> None:
    with closing(psycopg2.connect(admin(database))) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"create role {name} login password %s", (PASSWORD,))
    done = psql(admin(database), "let_set_availability.sql", {"login": name})
    assert (done.returncode, done.stderr) == (0, "")
