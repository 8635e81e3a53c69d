"""Readers of the time before a change: whoever has planned or taken a snapshot already, and would find nothing.

PostgreSQL plans a statement first and takes its snapshot then, and partitions come and go for
every plan at once, whatever snapshot it runs under. So a plan made before a generation's
partitions were attached finds no rows when that generation is live in its snapshot; and a
snapshot in which a generation is live finds no rows once its partitions are gone.
"""

from __future__ import annotations

import time

from psycopg2 import sql

from recjobs.publish.connection import Connection, Cursor
from recjobs.publish.generations import LIST_TABLES

_PLANNING_SECONDS = 2.0
_PAUSE_SECONDS = 0.01


def wait_for_plans(connection: Connection, schema: str) -> bool:
    """Waits until every transaction has ended that now has a list table in use; True when all have.

    To be called between attaching and promoting. A plan takes milliseconds, so after two seconds
    what is left are long transactions, which have their snapshots: nobody is waited for longer.
    Readers are not held up.
    """
    give_up = time.monotonic() + _PLANNING_SECONDS
    waited_for = _using_lists(connection, schema)
    while waited_for and time.monotonic() < give_up:
        time.sleep(_PAUSE_SECONDS)
        waited_for &= _using_lists(connection, schema)
    return not waited_for


def _using_lists(connection: Connection, schema: str) -> set[str]:
    """The transactions, but ours, with a lock on a list table."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "select l.virtualtransaction from pg_locks l join pg_class c on c.oid = l.relation "
            "join pg_namespace n on n.oid = c.relnamespace where l.locktype = 'relation' and l.pid <> pg_backend_pid() "
            "and l.database = (select oid from pg_database where datname = current_database()) "
            "and n.nspname = %s and c.relname = any(%s)",
            (schema, list(LIST_TABLES)),
        )
        return {name for (name,) in cursor.fetchall()}


def has_older_snapshot(cursor: Cursor, schema: str, generation: int) -> bool:
    """Whether a snapshot is in use that does not see the last change of `generation`'s row, that it is pruned, say."""
    cursor.execute(
        sql.SQL(
            "select from pg_stat_activity a, {}.generations g where g.generation = %s and a.pid <> pg_backend_pid() "
            "and a.datid = (select oid from pg_database where datname = current_database()) "
            "and age(a.backend_xmin) >= age(g.xmin) limit 1"
        ).format(sql.Identifier(schema)),
        (generation,),
    )
    return bool(cursor.rowcount)


def has_older_snapshot_than_detach(cursor: Cursor, schema: str, table: str) -> bool:
    """Whether a snapshot is in use in which the partition `table`, whose detaching has begun, is still attached."""
    cursor.execute(
        "select from pg_stat_activity a, pg_inherits i join pg_class c on c.oid = i.inhrelid "
        "join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s "
        "and a.pid <> pg_backend_pid() "
        "and a.datid = (select oid from pg_database where datname = current_database()) "
        "and age(a.backend_xmin) >= age(i.xmin) limit 1",
        (schema, table),
    )
    return bool(cursor.rowcount)
