"""Brings the schema up to date: numbered migrations once and in order, views and functions when they change.

What was applied is recorded with its checksum. A numbered file that changed afterwards is an
error: the database can't be what the file says. Views and functions are replaced when their file
has changed, so a function's signature only changes together with a numbered migration that drops
the old one.
"""

from __future__ import annotations

import hashlib
import logging
import time
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from psycopg2 import errors, sql

from recjobs.errors import PublishError, SettingsError
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import READER, WRITER, Connection, Cursor, act_as_writer, place_of

OLDEST_SERVER = 15
"""The oldest major version of PostgreSQL that we work on."""
# For each lock; those of all views are held until the last is there, and readers queue for them meanwhile.
_LOCK_TIMEOUT = "5ms"
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.2
REPLACEABLE = ("views", "functions")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Script:
    """One SQL file: `migrations/0001_generations`, its text and the checksum of it."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Equal for equal text."""
        return hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()

    @property
    def replaceable(self) -> bool:
        """Whether the file may change after it was applied."""
        return self.name.split("/")[0] in REPLACEABLE

    def render(self, schema: str) -> sql.Composed:
        """The statements for `schema`, quoted; a literal brace is doubled in the file."""
        return sql.SQL(self.text).format(schema=sql.Identifier(schema))


@dataclass(frozen=True)
class Status:
    """Which scripts a schema has, still needs, or has in another version."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    changed: tuple[str, ...]
    """Numbered migrations whose file is no longer what was applied."""
    unknown: tuple[str, ...] = ()
    """Numbered migrations that were applied and that this version does not have: a newer one was here."""

    @property
    def current(self) -> bool:
        """Whether nothing is to do."""
        return not self.pending and not self.changed and not self.unknown


@cache
def scripts() -> tuple[Script, ...]:
    """All SQL files in the order they are applied: migrations by number, then views, then functions."""
    package = Path(__file__).resolve().parent.parent
    folder = package / "sql" if (package / "sql").is_dir() else package.parent / "sql"
    return tuple(
        Script(path.relative_to(folder).with_suffix("").as_posix(), path.read_text())
        for kind in ("migrations", *REPLACEABLE)
        for path in sorted((folder / kind).glob("*.sql"))
    )


def status(connection: Connection, config: DatabaseConfig) -> Status:
    """What `migrate` would do; changes nothing."""
    with connection, connection.cursor() as cursor:
        return _status(cursor, config.schema_name)


def migrate(connection: Connection, config: DatabaseConfig) -> Status:
    """Brings the schema up to date and grants the two roles their rights; returns what it was before.

    One transaction under a lock of the schema's own, so two at once are one after the other, and
    readers see the old state or the new. Nothing is written when the schema is current.

    Raises:
        PublishError: a migration that was applied has changed since, or this login may not make
            the schema.
        SettingsError: the server is older than PostgreSQL 15.
    """
    refuse_old_server(connection, config)
    schema = config.schema_name
    with connection, connection.cursor() as cursor:
        if (before := _status(cursor, schema)).current:
            # The role may be younger than this connection.
            act_as_writer(cursor)
            return before
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return _migrate(connection, schema)
        except errors.LockNotAvailable:
            if time.monotonic() > give_up:
                raise
            time.sleep(_PAUSE_SECONDS)


def refuse_old_server(connection: Connection, config: DatabaseConfig) -> None:
    """Passes on a server that is new enough.

    Raises:
        SettingsError: it is older than PostgreSQL 15; the message names both versions and the place.
    """
    if connection.server_version // 10_000 < OLDEST_SERVER:
        found = server_version(connection)
        raise SettingsError(
            f"{place_of(config)}: the server is PostgreSQL {found}, and {OLDEST_SERVER} or later is needed. "
            "Upgrade it, or set database.url to another (RECJOBS__DATABASE__URL).",
            found=found,
            needed=OLDEST_SERVER,
        )


def server_version(connection: Connection) -> str:
    """The server's version as it names itself: `18.4`, on Debian `15.14 (Debian 15.14-0+deb12u1)`."""
    return str(connection.get_parameter_status("server_version"))


def _migrate(connection: Connection, schema: str) -> Status:
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        before = _status(cursor, schema)
        _refuse_changed(before, schema)
        # To replace a view takes a lock that readers queue behind: step back when it can't be had at once.
        cursor.execute("select set_config('lock_timeout', %s, true)", (_LOCK_TIMEOUT,))
        if not before.current:
            if all(name.split("/")[0] in REPLACEABLE for name in before.pending):
                # Readers wait until the commit is over, so it does not wait for the disk; a crash that loses it leaves
                # the old views and functions, to be replaced again.
                cursor.execute("set local synchronous_commit = off")
            _make_roles(cursor)
            _make_schema(cursor, schema)
            _apply(cursor, schema, before)
            _grant(cursor, schema)
        else:
            act_as_writer(cursor)
    return before


def lock(cursor: Cursor, schema: str) -> None:
    """Waits for the one lock under which this schema is migrated, numbered and promoted, until the transaction ends."""
    cursor.execute("select pg_advisory_xact_lock(%s, 0)", (lock_class(schema),))


def lock_class(schema: str) -> int:
    """The first half of this schema's advisory locks: int4, from the schema's name."""
    return zlib.crc32(f"recjobs {schema}".encode()) - (1 << 31)


def _status(cursor: Cursor, schema: str) -> Status:
    # Not to_regclass: it may answer from a cache that is older than the lock we have just waited for.
    cursor.execute(
        "select from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relname = 'schema_migrations'",
        (schema,),
    )
    recorded: dict[str, str] = {}
    if cursor.rowcount:
        cursor.execute(sql.SQL("select name, checksum from {}.schema_migrations").format(sql.Identifier(schema)))
        recorded = dict(cursor.fetchall())
    known = {script.name for script in scripts()}
    same = {script.name for script in scripts() if recorded.get(script.name) == script.checksum}
    return Status(
        applied=tuple(script.name for script in scripts() if script.name in same),
        pending=tuple(s.name for s in scripts() if s.name not in same and (s.replaceable or s.name not in recorded)),
        changed=tuple(s.name for s in scripts() if s.name not in same and not s.replaceable and s.name in recorded),
        unknown=tuple(sorted(name for name in recorded if name.startswith("migrations/") and name not in known)),
    )


def _refuse_changed(before: Status, schema: str) -> None:
    if before.unknown:
        raise PublishError(
            f"schema {schema}: {', '.join(before.unknown)} was applied by a newer version of recjobs, which this one "
            "does not know. Run that version, or another schema: set database.schema_name.",
            schema=schema,
            unknown=list(before.unknown),
        )
    if before.changed:
        raise PublishError(
            f"schema {schema}: {', '.join(before.changed)} was applied and has changed since. Restore the file and put "
            "the change into a new migration with the next number.",
            schema=schema,
            changed=list(before.changed),
        )


def _make_roles(cursor: Cursor) -> None:
    """Makes the two roles where they are missing, or says what an administrator has to run."""
    for role in (WRITER, READER):
        cursor.execute("select from pg_roles where rolname = %s", (role,))
        if cursor.rowcount:
            continue
        cursor.execute("savepoint role")
        try:
            cursor.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
            if role == WRITER:
                cursor.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))
        except errors.InsufficientPrivilege:
            cursor.execute("rollback to savepoint role")
            log.warning(
                "role %s is missing and this login may not create it. Let an administrator run: CREATE ROLE %s; GRANT "
                "%s TO <login>; then `recjobs db migrate`.",
                role, role, role,
            )  # fmt: skip
        except (errors.DuplicateObject, errors.UniqueViolation):
            cursor.execute("rollback to savepoint role")


def _make_schema(cursor: Cursor, schema: str) -> None:
    """Makes the schema, owned by the writer where this login may act as it, and goes on as its owner."""
    cursor.execute("reset role")
    cursor.execute("select pg_has_role(oid, 'member') from pg_roles where rolname = %s", (WRITER,))
    member = cursor.fetchone() == (True,)
    cursor.execute("select pg_get_userbyid(nspowner) from pg_namespace where nspname = %s", (schema,))
    found = cursor.fetchone()
    if found is None:
        owner = sql.SQL(" authorization {}").format(sql.Identifier(WRITER)) if member else sql.SQL("")
        cursor.execute(sql.SQL("create schema {}{}").format(sql.Identifier(schema), owner))
    if member and found is not None and found != (WRITER,):
        raise SettingsError(
            f"schema {schema} belongs to {found[0]}, not to {WRITER}, who has to make tables in it. Choose another "
            f"schema (database.schema_name), or, if nobody else uses it: ALTER SCHEMA {schema} OWNER TO {WRITER}.",
            schema=schema,
            owner=found[0],
        )
    if member:
        cursor.execute(sql.SQL("set role {}").format(sql.Identifier(WRITER)))
    cursor.execute(
        sql.SQL(
            "create table if not exists {}.schema_migrations (name text primary key, checksum text not null, "
            "applied_at timestamptz not null default clock_timestamp())"
        ).format(sql.Identifier(schema))
    )


def _apply(cursor: Cursor, schema: str, before: Status) -> None:
    """Runs what is pending: each migration by itself, then all views and functions in one message to the server.

    Readers queue behind a replaced view until the transaction ends, so nothing in between waits for this process.
    """
    pending = [script for script in scripts() if script.name in before.pending]
    for script in pending:
        log.info("schema %s: %s", schema, script.name)
    for script in pending:
        if not script.replaceable:
            cursor.execute(_applied(script, schema))
    if replaced := [_applied(script, schema) for script in pending if script.replaceable]:
        cursor.execute(sql.SQL(";\n").join(replaced))


def _applied(script: Script, schema: str) -> sql.Composed:
    """The script's statements, and that it was applied."""
    record = sql.SQL(
        "insert into {}.schema_migrations (name, checksum) values ({}, {}) "
        "on conflict (name) do update set checksum = excluded.checksum, applied_at = clock_timestamp()"
    ).format(sql.Identifier(schema), sql.Literal(script.name), sql.Literal(script.checksum))
    return sql.SQL(";\n").join([script.render(schema), record])


def _grant(cursor: Cursor, schema: str) -> None:
    """The reader's rights: views and functions, no table."""
    cursor.execute("select from pg_roles where rolname = %s", (READER,))
    if not cursor.rowcount:
        return
    names = {"schema": sql.Identifier(schema), "reader": sql.Identifier(READER)}
    views = sql.SQL(", ").join(
        sql.Identifier(schema, script.name.split("/")[1]) for script in scripts() if script.name.startswith("views/")
    )
    grants = [
        sql.SQL("grant usage on schema {schema} to {reader}").format(**names),
        sql.SQL("grant select on {views} to {reader}").format(views=views, **names),
    ]
    for function in _functions(cursor, schema):
        grants.append(sql.SQL("revoke all on function {} from public").format(function))
        grants.append(sql.SQL("grant execute on function {} to {reader}").format(function, **names))
    # One message, as above: the views are still locked.
    cursor.execute(sql.SQL("; ").join(grants))


def _functions(cursor: Cursor, schema: str) -> list[sql.Composable]:
    """Our functions with their arguments; others in the schema are not ours to grant."""
    ours = [script.name.split("/")[1] for script in scripts() if script.name.startswith("functions/")]
    cursor.execute(
        "select p.proname, pg_get_function_identity_arguments(p.oid) from pg_proc p "
        "join pg_namespace n on n.oid = p.pronamespace where n.nspname = %s and p.proname = any (%s)",
        (schema, ours),
    )
    return [
        sql.SQL("{}({})").format(sql.Identifier(schema, name), sql.SQL(arguments))
        for name, arguments in cursor.fetchall()
    ]
