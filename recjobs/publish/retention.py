"""Keeps the newest generations and drops the lists of older ones, never those of live or its predecessor.

No reader waits: partitions are detached with CONCURRENTLY, which lets readers of the time before
finish, and only then dropped. Where somebody reads for too long the rest is left to the next run.
The generation's row stays for good: the fence and the audit need it.
"""

from __future__ import annotations

import logging

from psycopg2 import errors, sql

from recjobs.publish.connection import Connection, Cursor
from recjobs.publish.generations import (
    LIST_TABLES,
    Generation,
    all_generations,
    live_generation,
    partition,
    query,
    remove_abandoned,
)
from recjobs.publish.migrations import lock
from recjobs.publish.promotion import predecessor

_DETACH_WAIT = "5s"
log = logging.getLogger(__name__)


def prune(connection: Connection, schema: str, keep: int) -> list[Generation]:
    """Drops the lists of all but the newest `keep` generations; returns those whose lists are gone now.

    `keep` counts stored generations from the highest (ds, seq) down. What an earlier call could
    not finish, and what dead loaders left, goes too. The connection is in autocommit mode
    afterwards: DETACH CONCURRENTLY can't be part of a transaction.
    """
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        remove_abandoned(cursor, schema)
        _mark(cursor, schema, _excess(cursor, schema, keep))
        marked = [generation for generation in all_generations(cursor, schema) if generation.pruned_at]
    connection.autocommit = True
    dropped = []
    with connection.cursor() as cursor:
        cursor.execute("select set_config('lock_timeout', %s, false)", (_DETACH_WAIT,))
        for generation in reversed(marked):
            try:
                if _drop(cursor, schema, generation):
                    dropped.append(generation)
            except (errors.LockNotAvailable, errors.ObjectInUse, errors.ObjectNotInPrerequisiteState) as error:
                log.warning(
                    "generation %s: not dropped yet, the next run tries again (%s)",
                    generation,
                    error.diag.message_primary,
                )
                break
    return dropped


def _excess(cursor: Cursor, schema: str, keep: int) -> list[Generation]:
    live = live_generation(cursor, schema)
    needed = {live.generation} if live else set()
    if live and (before := predecessor(cursor, schema, live)):
        needed.add(before.generation)
    stored = [generation for generation in all_generations(cursor, schema) if generation.stored]
    return [g for g in stored[keep:] if g.generation not in needed and g.state == "superseded"]


def _mark(cursor: Cursor, schema: str, generations: list[Generation]) -> None:
    """From here on nobody can roll back to them; their tables go next."""
    for generation in generations:
        cursor.execute(
            query(schema, "update {schema}.generations set pruned_at = clock_timestamp() where generation = %s"),
            (generation.generation,),
        )
        cursor.execute(
            query(
                schema,
                "insert into {schema}.audit (action, generation, who, why) values ('prune', %s, 'publish', %s)",
            ),
            (generation.generation, "older than publish.keep_generations"),
        )


def _drop(cursor: Cursor, schema: str, generation: Generation) -> bool:
    """Detaches and drops the generation's tables that are still there. True if there were any."""
    found = False
    for table in LIST_TABLES:
        cursor.execute(
            "select i.inhdetachpending from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "left join pg_inherits i on i.inhrelid = c.oid where n.nspname = %s and c.relname = %s",
            (schema, f"{table}_g{generation.generation}"),
        )
        if (row := cursor.fetchone()) is None:
            continue
        found = True
        names = {
            "parent": sql.Identifier(schema, table),
            "child": partition(schema, table, generation.generation),
            "how": sql.SQL("finalize" if row[0] else "concurrently"),
        }
        if row[0] is not None:
            cursor.execute(sql.SQL("alter table {parent} detach partition {child} {how}").format(**names))
        cursor.execute(sql.SQL("drop table {child}").format(**names))
    return found
