"""Forgotten users in the database: their tombstones, and their rows in the lists of every generation.

Who is forgotten is written under the schema's lock with the server's clock, so of a tombstone and a
generation it is always clear which came first. Rows that could be seen then are deleted at once. A
generation that was being loaded, whose rows nobody could see, is looked through before it is
attached, and again before it goes live for those forgotten since: nothing brings a user back,
whatever the order. No reader waits for any of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial

from psycopg2 import errors, sql

from recjobs import tombstones
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import Connection, Cursor
from recjobs.publish.generations import Generation, fetch, partition, query, refuse_other_dataset
from recjobs.publish.migrations import lock, migrate
from recjobs.tombstones import Tombstone

TABLE = "user_lists"
_PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 0.2
_IS_FORGOTTEN = (
    "{schema}.forgotten_users f where f.digest = any (%(digests)s) and f.digest = encode("
    "sha256(convert_to(f.dataset, 'UTF8') || '\\x00'::bytea || convert_to(l.user_id, 'UTF8')), 'hex')"
)
log = logging.getLogger(__name__)


def forget(connection: Connection, config: DatabaseConfig, tombstone: Tombstone, user: str) -> dict[str, int]:
    """Sets the tombstone and deletes the user's rows from every generation's table; returns how many went by table.

    Again, it goes on where an earlier call was killed. Rows of another data set's generations stay.

    Raises:
        DatabaseUnavailableError: the server went away; call again.
    """
    schema = config.schema_name
    migrate(connection, config)
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        refuse_other_dataset(cursor, schema, tombstone.dataset)
        _set(cursor, schema, tombstone)
    removed = {}
    for table, generation in _tables(connection, schema, tombstone.dataset):
        if rows := _retried(partial(_delete_user, connection, schema, generation, user)):
            removed[table] = rows
    vacuum(connection, schema, list(removed))
    _mark_removed(connection, schema, [tombstone.digest])
    return removed


def remember(connection: Connection, config: DatabaseConfig, folder: str, record: Tombstone) -> bool:
    """Takes the tombstone away, in the database and in `folder`; False when there was none.

    `record` says on whose word. Under one lock: a run that publishes at this moment sees it in both places or in none.
    """
    schema = config.schema_name
    migrate(connection, config)
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        cursor.execute(query(schema, "delete from {schema}.forgotten_users where digest = %s"), (record.digest,))
        found = cursor.rowcount > 0
        found = tombstones.lift(folder, record) or found
        if found:
            _audit(cursor, schema, "unforget", record)
    return found


def synchronise(connection: Connection, config: DatabaseConfig, folder: str, dataset: str) -> None:
    """Gives the database the tombstones in `folder` that it lacks, and the other way round; either may be new or wiped.

    Only those of `dataset`: another one's have no business here.

    Rows of users who are new to the database as forgotten are deleted from every generation.
    """
    schema = config.schema_name
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        stored = {stone.digest: stone for stone in tombstones.all_of(folder) if stone.dataset == dataset}
        known = {stone.digest: stone for stone in _known(cursor, schema) if stone.dataset == dataset}
        for digest in stored.keys() - known.keys():
            _set(cursor, schema, stored[digest])
        for digest in known.keys() - stored.keys():
            tombstones.add(folder, known[digest])
        pending = _known(cursor, schema, unfinished=True)
    if not pending:
        return
    touched = []
    for dataset in {stone.dataset for stone in pending}:
        mine = [stone.digest for stone in pending if stone.dataset == dataset]
        for table, generation in _tables(connection, schema, dataset):
            if _retried(partial(_delete_digests, connection, schema, generation, mine)):
                touched.append(table)
    vacuum(connection, schema, touched)
    _mark_removed(connection, schema, [stone.digest for stone in pending])


def clear_before_attach(
    connection: Connection, schema: str, generation: Generation, left_out: Collection[str] = ()
) -> int:
    """Deletes forgotten users from a generation whose rows are all committed and that nobody reads yet.

    `left_out` are digests that its lists were made without. No lock is held while rows are looked through; when all
    is as it should be, none are. Returns how many rows went.
    """
    with connection, connection.cursor() as cursor:
        # Under the lock no tombstone is older than this moment and not to be seen yet.
        lock(cursor, schema)
        cursor.execute("select clock_timestamp()")
        now = (cursor.fetchone() or (None,))[0]
        digests = [digest for digest in pending_digests(cursor, schema, generation) if digest not in left_out]
    removed = _delete_digests(connection, schema, generation.generation, digests) if digests else 0
    if removed:
        vacuum(connection, schema, [f"{TABLE}_g{generation.generation}"])
    with connection, connection.cursor() as cursor:
        _set_cleared(cursor, schema, generation.generation, now)
    return removed


def clear_before_live(cursor: Cursor, schema: str, generation: Generation) -> int:
    """Deletes from a generation that is about to be live those forgotten after it was looked through; mostly nobody.

    Within the transaction that makes it live; the caller holds the schema's lock. Returns how many rows went.
    """
    cursor.execute("select clock_timestamp()")
    now = (cursor.fetchone() or (None,))[0]
    digests = pending_digests(cursor, schema, generation)
    removed = _deleted(cursor, schema, generation.generation, digests) if digests else 0
    _set_cleared(cursor, schema, generation.generation, now)
    return removed


def pending_digests(cursor: Cursor, schema: str, generation: Generation) -> list[str]:
    """Tombstones whose users the generation may hold: set after it was cleared, and not when its rows could be seen."""
    cursor.execute(
        query(
            schema,
            "select f.digest from {schema}.forgotten_users f, {schema}.generations g where g.generation = %s "
            "and f.dataset = g.dataset and f.forgotten_at > coalesce(g.cleared_at, '-infinity') "
            "and (f.removed_at is null or g.loaded_at is null or g.loaded_at >= f.forgotten_at)",
        ),
        (generation.generation,),
    )
    return [digest for (digest,) in cursor.fetchall()]


def forgotten_rows(connection: Connection, schema: str, generation: Generation) -> int:
    """How many user lists went from the generation since it was loaded."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            query(schema, "select forgotten_rows from {schema}.generations where generation = %s"),
            (generation.generation,),
        )
        row = cursor.fetchone()
        return row[0] if row else 0


def vacuum(connection: Connection, schema: str, tables: Sequence[str]) -> None:
    """Frees what deleted rows held in `tables`, without a lock that a reader waits for.

    Not done where somebody else works on the table: autovacuum does it later.
    """
    with _autocommit(connection), connection.cursor() as cursor:
        for table in tables:
            try:
                cursor.execute(sql.SQL("vacuum (skip_locked, truncate false) {}").format(sql.Identifier(schema, table)))
            except errors.UndefinedTable:
                log.info("%s: pruned meanwhile", table)


# -- tombstones


def _set(cursor: Cursor, schema: str, tombstone: Tombstone) -> None:
    cursor.execute(
        query(
            schema,
            "insert into {schema}.forgotten_users (digest, dataset, who, why) values (%s, %s, %s, %s) "
            "on conflict (digest) do nothing",
        ),
        (tombstone.digest, tombstone.dataset, tombstone.who, tombstone.why),
    )
    if cursor.rowcount:
        _audit(cursor, schema, "forget", tombstone)


def _known(cursor: Cursor, schema: str, *, unfinished: bool = False) -> list[Tombstone]:
    """The database's tombstones; `unfinished`: those whose rows are not known to be gone."""
    cursor.execute(
        query(
            schema,
            "select digest, dataset, forgotten_at, who, why from {schema}.forgotten_users "
            "where removed_at is null or not %s",
        ),
        (unfinished,),
    )
    return [
        Tombstone(digest=digest, dataset=dataset, forgotten_at=at, who=who, why=why)
        for digest, dataset, at, who, why in cursor.fetchall()
    ]


def _mark_removed(connection: Connection, schema: str, digests: Sequence[str]) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute(
            query(
                schema,
                "update {schema}.forgotten_users set removed_at = clock_timestamp() "
                "where digest = any (%s) and removed_at is null",
            ),
            (list(digests),),
        )


def _audit(cursor: Cursor, schema: str, action: str, tombstone: Tombstone) -> None:
    cursor.execute(
        query(schema, "insert into {schema}.audit (action, subject, who, why) values (%s, %s, %s, %s)"),
        (action, tombstone.digest, tombstone.who, tombstone.why),
    )


def _set_cleared(cursor: Cursor, schema: str, generation: int, now: datetime | None) -> None:
    cursor.execute(
        query(schema, "update {schema}.generations set cleared_at = %s where generation = %s"), (now, generation)
    )


# -- rows


def _tables(connection: Connection, schema: str, dataset: str) -> list[tuple[str, int]]:
    """Every generation's own table of user lists, attached or not, with the generation's number."""
    with connection, connection.cursor() as cursor:
        cursor.execute(query(schema, "select {columns} from {schema}.generations where dataset = %s"), (dataset,))
        generations = {f"{TABLE}_g{one.generation}": one.generation for one in fetch(cursor)}
        cursor.execute(
            "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = %s and c.relkind = 'r' and c.relname = any (%s)",
            (schema, list(generations)),
        )
        return [(name, generations[name]) for (name,) in cursor.fetchall()]


def _delete_user(connection: Connection, schema: str, generation: int, user: str) -> int:
    with connection, connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("delete from {} where generation = %s and user_id = %s").format(
                partition(schema, TABLE, generation)
            ),
            (generation, user),
        )
        return _counted(cursor, schema, generation, cursor.rowcount)


def _delete_digests(connection: Connection, schema: str, generation: int, digests: Sequence[str]) -> int:
    with connection, connection.cursor() as cursor:
        return _deleted(cursor, schema, generation, digests)


def _deleted(cursor: Cursor, schema: str, generation: int, digests: Sequence[str]) -> int:
    statement = sql.SQL("delete from {table} l using " + _IS_FORGOTTEN).format(
        table=partition(schema, TABLE, generation), schema=sql.Identifier(schema)
    )
    cursor.execute(statement, {"digests": list(digests)})
    return _counted(cursor, schema, generation, cursor.rowcount)


def _counted(cursor: Cursor, schema: str, generation: int, rows: int) -> int:
    if rows:
        cursor.execute(
            query(schema, "update {schema}.generations set forgotten_rows = forgotten_rows + %s where generation = %s"),
            (rows, generation),
        )
        log.info("generation %d: %d lists of forgotten users deleted", generation, rows)
    return rows


def _retried(delete: Callable[[], int]) -> int:
    """`delete`, again while a loader or a prune has the table to itself; 0 when the table is gone."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return delete()
        except errors.UndefinedTable:
            return 0
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if time.monotonic() > give_up:
                raise
            time.sleep(_PAUSE_SECONDS)


@contextmanager
def _autocommit(connection: Connection) -> Iterator[None]:
    before = connection.autocommit
    connection.autocommit = True
    try:
        yield
    finally:
        connection.autocommit = before
