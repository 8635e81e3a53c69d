"""Keeps the newest generations and drops the lists of older ones, never those of live or its predecessor.

No reader waits, and none misses what its snapshot sees: partitions are detached with CONCURRENTLY
once all readers of the time before have finished, and only then dropped. Where somebody reads for
too long the rest is left to the next run.
The generation's row stays for good: the fence and the audit need it.
"""

from __future__ import annotations

import logging
import time
from typing import Literal

from psycopg2 import errors, sql

from recjobs.publish.connection import Connection, Cursor
from recjobs.publish.earlier import has_older_snapshot, has_older_snapshot_than_detach
from recjobs.publish.generations import (
    LIST_TABLES,
    Generation,
    all_generations,
    live_generation,
    partition,
    query,
    remove_abandoned,
)
from recjobs.publish.migrations import lock, lock_class
from recjobs.publish.promotion import predecessor

PartitionState = Literal["attached", "pending", "alone"]
_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.03
_PRUNING = -1
"""The second half of the advisory lock of the one process that prunes; 0 is the schema's, generations count from 1."""
log = logging.getLogger(__name__)


def prune(
    connection: Connection, schema: str, keep: int, lock_timeout_ms: int = 50, *, who: str = "publish"
) -> list[Generation]:
    """Drops the lists of all but the newest `keep` generations; returns those whose lists are gone now.

    `keep` counts stored generations from the highest (ds, seq) down; `who` is for the audit. What an earlier call could
    not finish, and what dead loaders left, goes too. The connection is in autocommit mode
    afterwards: DETACH CONCURRENTLY can't be part of a transaction.
    """
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        remove_abandoned(cursor, schema)
        _mark(cursor, schema, _excess(cursor, schema, keep), who, f"not one of the newest {keep}")
    connection.autocommit = True
    give_up = time.monotonic() + _PATIENCE_SECONDS
    with connection.cursor() as cursor:
        cursor.execute("select set_config('lock_timeout', %s, false)", (f"{lock_timeout_ms}ms",))
        if not _alone(cursor, schema, give_up):
            log.warning("schema %s: another process is pruning; the next run goes on", schema)
            return []
        try:
            return _drop_marked(cursor, schema, give_up)
        finally:
            if not connection.closed:
                cursor.execute("select pg_advisory_unlock(%s, %s)", (lock_class(schema), _PRUNING))


def _alone(cursor: Cursor, schema: str, give_up: float) -> bool:
    """Whether this session is the one that takes partitions away: two at once would stumble over each other."""
    while True:
        cursor.execute("select pg_try_advisory_lock(%s, %s)", (lock_class(schema), _PRUNING))
        if cursor.fetchone() == (True,):
            return True
        if time.monotonic() > give_up:
            return False
        time.sleep(_PAUSE_SECONDS)


def _drop_marked(cursor: Cursor, schema: str, give_up: float) -> list[Generation]:
    dropped = []
    for generation, tables in _marked(cursor, schema):
        # One partition of a table at a time can be pending, so the first generation that stays ends it.
        if not _removed(cursor, schema, tables, generation, give_up):
            log.warning("generation %s: somebody reads for long; the next run drops its lists", generation)
            break
        dropped.append(generation)
    return dropped


def _marked(cursor: Cursor, schema: str) -> list[tuple[Generation, list[str]]]:
    """The pruned generations that still have tables, and which, the lowest (ds, seq) first."""
    marked = [generation for generation in all_generations(cursor, schema) if generation.pruned_at]
    cursor.execute(
        "select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relname = any(%s)",
        (schema, [f"{table}_g{generation.generation}" for generation in marked for table in LIST_TABLES]),
    )
    there = {name for (name,) in cursor.fetchall()}
    found = [(g, [table for table in LIST_TABLES if f"{table}_g{g.generation}" in there]) for g in reversed(marked)]
    return [(generation, tables) for generation, tables in found if tables]


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


def _mark(cursor: Cursor, schema: str, generations: list[Generation], who: str, why: str) -> None:
    """From here on nobody can roll back to them; their tables go next."""
    for generation in generations:
        cursor.execute(
            query(schema, "update {schema}.generations set pruned_at = clock_timestamp() where generation = %s"),
            (generation.generation,),
        )
        cursor.execute(
            query(
                schema,
                "insert into {schema}.audit (action, generation, who, why) values ('prune', %s, %s, %s)",
            ),
            (generation.generation, who, why),
        )


def _removed(cursor: Cursor, schema: str, tables: list[str], generation: Generation, give_up: float) -> bool:
    """Takes a generation's partitions away, a step at a time; False where that is not done by `give_up`.

    A step that has the partition locked while it waits for an old reader would hold up others, and
    even deadlock with one that was planned before. So none is taken while somebody reads in the
    time before it, and each waits for a moment only, all tables in turn: the same readers hold
    them up.
    """
    left = list(tables)
    while True:
        if not has_older_snapshot(cursor, schema, generation.generation):
            left = [table for table in left if not _all_steps(cursor, schema, table, generation)]
        if not left or time.monotonic() > give_up:
            return not left
        time.sleep(_PAUSE_SECONDS)


def _all_steps(cursor: Cursor, schema: str, table: str, generation: Generation) -> bool:
    """Goes on with one partition until it is gone (True) or somebody must be waited for."""
    while (state := _state(cursor, schema, table, generation)) is not None:
        if state == "pending" and has_older_snapshot_than_detach(cursor, schema, f"{table}_g{generation.generation}"):
            return False
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
