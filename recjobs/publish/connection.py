"""Connections to the database that the app reads, and what its errors mean to an operator."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import psycopg2
from psycopg2 import errors, extensions, sql

from recjobs.errors import DatabaseUnavailableError, PublishError, SettingsError
from recjobs.publish import embedded
from recjobs.publish.config import DatabaseConfig

Connection: TypeAlias = extensions.connection
Cursor: TypeAlias = extensions.cursor

WRITER = "recs_writer"
READER = "recs_reader"
STATEMENT_TIMEOUT_MS = 15 * 60 * 1000
"""No statement of ours takes longer; a server that hangs ends it with an error."""
_LOCK_TIMEOUT_MS = 10_000
# Until the server's end of a dead network counts as gone: 30 s idle, then 3 probes 10 s apart.
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
# The same for the server's side, which else keeps the session and its locks of a vanished machine for hours; and a
# statement whose loader was killed is noticed while it runs. Windows can't check.
_SERVER_SETTINGS = {
    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
    "lock_timeout": str(_LOCK_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": str(STATEMENT_TIMEOUT_MS),
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "client_connection_check_interval": "5000",
}
_LIMIT_REACHED = "54"
"""The class of SQLSTATEs that say: larger than this server can ever take."""
_GIVE_UP_AT_CONNECT = re.compile(r"authentication failed|no pg_hba.conf entry|(database|role) .* does not exist")


def database_url(config: DatabaseConfig) -> str:
    """The URL to connect to, with its password: the configured one, or the embedded server's, started if need be."""
    if config.url is None:
        return embedded.start(config)
    return re.sub(r"^(postgres(ql)?)\+\w+://", "postgresql://", config.url.get_secret_value())


def place_of(config: DatabaseConfig) -> str:
    """`host:port/database` for messages: never a password, and no server is started to know it."""
    if config.url is None:
        return f"{embedded.HOST}:{config.embedded_port}/{embedded.DATABASE} (embedded, {config.embedded_folder})"
    parts = _parsed(database_url(config))
    return f"{parts.get('host', 'localhost')}:{parts.get('port', '5432')}/{parts.get('dbname', '')}"


def connect(config: DatabaseConfig, *, purpose: str = "recjobs", autocommit: bool = False) -> Connection:
    """A new connection, acting as `recs_writer` where its login may. The caller closes it.

    Statements end after 15 minutes and waits for a lock after 10 seconds, unless a transaction
    sets its own limits.

    Raises:
        DatabaseUnavailableError: no server answers there. The message names host, port and database.
        PublishError: the server refuses this login or does not know the database.
        SettingsError: `database.url` can't be read, or the embedded server can't be started here.
    """
    dsn = _dsn(config, purpose)
    with named_errors(config):
        connection = psycopg2.connect(dsn)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        connection.autocommit = autocommit
    return connection


@contextlib.contextmanager
def connected(config: DatabaseConfig, *, purpose: str = "recjobs", autocommit: bool = False) -> Iterator[Connection]:
    """A connection for the block, its errors as ours; what was not committed is rolled back."""
    connection = connect(config, purpose=purpose, autocommit=autocommit)
    with named_errors(config), contextlib.closing(connection):
        yield connection


@contextlib.contextmanager
def named_errors(config: DatabaseConfig) -> Iterator[None]:
    """psycopg2's errors as ours: lost, stopping or overloaded servers to be retried, the rest not."""
    try:
        yield
    except psycopg2.Error as error:
        raise _named(error, config) from error


@contextlib.contextmanager
def limits(connection: Connection, *, lock_timeout_ms: int) -> Iterator[None]:
    """A transaction that waits for each lock at most so long; committed at the end of the block."""
    with connection, connection.cursor() as cursor:
        cursor.execute("select set_config('lock_timeout', %s, true)", (f"{lock_timeout_ms}ms",))
        yield


def act_as_writer(cursor: Cursor) -> None:
    """From here on the session acts as `recs_writer`, where that role exists and its login may."""
    cursor.execute("select pg_has_role(oid, 'member') from pg_roles where rolname = %s", (WRITER,))
    if cursor.fetchone() == (True,):
        cursor.execute(sql.SQL("set role {}").format(sql.Identifier(WRITER)))


def _dsn(config: DatabaseConfig, purpose: str) -> str:
    parts = _parsed(database_url(config))
    defaults: dict[str, Any] = {"connect_timeout": config.connect_timeout, "application_name": purpose, **_KEEPALIVES}
    dsn: str = extensions.make_dsn(**{**defaults, **parts})
    return dsn


def _parsed(url: str) -> dict[str, str]:
    try:
        return {key: str(value) for key, value in extensions.parse_dsn(url).items()}
    except psycopg2.ProgrammingError:
        # Its message repeats parts of the URL, which has the password in it.
        raise SettingsError(
            "database.url can't be read. Write it as postgresql://user:password@host:port/database, "
            "with %-escapes for signs like @ / : in the password."
        ) from None


def _prepare(connection: Connection) -> None:
    """Limits by statement and not as connection options, which poolers such as PgBouncer refuse."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "select set_config(name, setting, false) from unnest(%s, %s) as wanted (name, setting) "
            "where name not like all (array['tcp%%', 'client%%']) or version() !~* 'visual c|mingw|windows'",
            (list(_SERVER_SETTINGS), list(_SERVER_SETTINGS.values())),
        )
        act_as_writer(cursor)


def _named(error: psycopg2.Error, config: DatabaseConfig) -> Exception:
    error = _first(error)
    place, said = place_of(config), str(error).strip().split("\n")[0]
    if isinstance(error, errors.DiskFull):
        return PublishError(
            f"{place}: the server's disk is full ({said}). Free space or lower publish.keep_generations; "
            "the live lists are untouched.",
            place=place,
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return PublishError(
            f"{place}: {said}. Let an administrator run `recjobs db migrate` or grant {WRITER} to this login.",
            place=place,
        )
    if isinstance(error, errors.UndefinedTable | errors.UndefinedFunction | errors.InvalidSchemaName):
        return PublishError(
            f"{place}: {said}. Schema {config.schema_name} is not made or not current: run `recjobs db migrate`.",
            place=place,
        )
    if error.pgcode is None and _GIVE_UP_AT_CONNECT.search(said):
        return PublishError(f"{place}: {said}. Check user, password and database in database.url.", place=place)
    if _connection_lost(error) or _may_pass(error):
        fix = "Start it, or set database.url (RECJOBS__DATABASE__URL)" if error.pgcode is None else "Try again"
        return DatabaseUnavailableError(
            f"database {place} does not answer: {said}. {fix}; the live lists are untouched.", place=place
        )
    return PublishError(f"{place}: {said} (SQLSTATE {error.pgcode}).", place=place)


def _first(error: psycopg2.Error) -> psycopg2.Error:
    """What went wrong first: leaving a block whose connection is lost says only that it is closed."""
    while isinstance(error, psycopg2.InterfaceError) and isinstance(error.__context__, psycopg2.Error):
        error = error.__context__
    return error


def _connection_lost(error: psycopg2.Error) -> bool:
    """The client library's own errors have no SQLSTATE; lost in the middle of COPY it is a bare DatabaseError."""
    return error.pgcode is None and type(error) in (
        psycopg2.DatabaseError, psycopg2.OperationalError, psycopg2.InterfaceError
    )  # fmt: skip


def _may_pass(error: psycopg2.Error) -> bool:
    return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) and not (
        error.pgcode or ""
    ).startswith(_LIMIT_REACHED)
