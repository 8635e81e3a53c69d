"""Keeps the newest generations and drops the lists of older ones, never those of live or its predecessor.

No reader waits: partitions are detached with CONCURRENTLY, which lets readers of the time before
finish, and only then dropped. Where somebody reads for too long the rest is left to the next run.
The generation's row stays for good: the fence and the audit need it.
"""

from __future__ import annotations

import logging
import time
from typing import Literal

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

PartitionState = Literal["attached", "pending", "alone"]
_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.1
log = logging.getLogger(__name__)


def prune(connection: Connection, schema: str, keep: int, lock_timeout_ms: int = 50) -> list[Generation]:
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
    give_up = time.monotonic() + _PATIENCE_SECONDS
    dropped = []
    with connection.cursor() as cursor:
        cursor.execute("select set_config('lock_timeout', %s, false)", (f"{lock_timeout_ms}ms",))
        for generation in reversed(marked):
            found = [table for table in LIST_TABLES if _state(cursor, schema, table, generation)]
            # One partition of a table at a time can be pending, so the first generation that stays ends it.
            if not _removed(cursor, schema, found, generation, give_up):
                log.warning("generation %s: somebody reads for long; the next run drops its lists", generation)
                break
            if found:
                dropped.append(generation)
    return dropped


def _excess(cursor: Cursor, schema: str, keep: int) -> list[Generation]:
    live = live_generation(cursor, schema)
    if live is None:
        return []
    before = predecessor(cursor, schema, live)
    needed = {live.generation, before.generation if before else live.generation}
    stored = [generation for generation in all_generations(cursor, schema) if generation.stored]
    return [g for g in stored[keep:] if g.generation not in needed and not _about_to_go_live(g, live)]


def _about_to_go_live(generation: Generation, live: Generation) -> bool:
    """Whether a run may be about to promote it; below live the fence would refuse it anyway."""
    return generation.state == "ready" and generation.number > live.number


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


def _removed(cursor: Cursor, schema: str, tables: list[str], generation: Generation, give_up: float) -> bool:
    """Takes a generation's partitions away, a step at a time; False where that is not done by `give_up`.

    A step that has the partition locked while it waits for an old reader would hold up newer ones,
    and even deadlock with one that was planned before. So each waits for a moment only, all tables
    in turn: the same readers hold them up.
    """
    left = list(tables)
    while True:
        left = [table for table in left if not _all_steps(cursor, schema, table, generation)]
        if not left or time.monotonic() > give_up:
            return not left
        time.sleep(_PAUSE_SECONDS)


def _all_steps(cursor: Cursor, schema: str, table: str, generation: Generation) -> bool:
    """Goes on with one partition until it is gone (True) or a lock can't be had at once."""
    while (state := _state(cursor, schema, table, generation)) is not None:
        try:
            cursor.execute(_step(schema, table, generation, state))
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            return False
    return True


def _state(cursor: Cursor, schema: str, table: str, generation: Generation) -> PartitionState | None:
    """What the generation's own table is now, or None when it is gone."""
    cursor.execute(
        "select case i.inhdetachpending when true then 'pending' when false then 'attached' else 'alone' end "
        "from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_inherits i on i.inhrelid = c.oid "
        "where n.nspname = %s and c.relname = %s",
        (schema, f"{table}_g{generation.generation}"),
    )
    row = cursor.fetchone()
    return row[0] if row else None


def _step(schema: str, table: str, generation: Generation, state: PartitionState) -> sql.Composed:
    statement = {
        "attached": "alter table {parent} detach partition {child} concurrently",
        "pending": "alter table {parent} detach partition {child} finalize",
        "alone": "drop table {child}",
    }[state]
    return sql.SQL(statement).format(
        parent=sql.Identifier(schema, table), child=partition(schema, table, generation.generation)
    )
