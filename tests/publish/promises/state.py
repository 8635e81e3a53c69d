"""What the database holds, as the tests of promises ask for it."""

from __future__ import annotations

from pathlib import Path

from recjobs.publish import reading
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from recjobs.publish.generations import LIST_TABLES
from tests.publish.composed import settings_for


def live_number(folder: Path, database: DatabaseConfig) -> tuple[str, int]:
    """(ds, seq) of the live generation."""
    live = reading.live(settings_for(folder, database))
    assert live is not None
    return str(live.ds), live.seq


def audit(database: DatabaseConfig) -> list[tuple[str, str, bool, str]]:
    """(action, generation, forced, who), oldest first, without the nightly prune."""
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select action, ds::text || '/' || seq, forced, who from recs.audit "
            "join recs.generations using (generation) where action <> 'prune' order by id"
        )
        return cursor.fetchall()


def left_over(database: DatabaseConfig) -> set[str]:
    """Tables of generations that are not stored: what dead loaders and unfinished prunes left."""
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            r"where n.nspname = 'recs' and c.relkind = 'r' and c.relname ~ '_g\d+$'"
        )
        found = {name for (name,) in cursor.fetchall()}
        cursor.execute(
            "select generation from recs.generations "
            "where state in ('ready', 'live', 'superseded') and pruned_at is null"
        )
        stored = {f"{table}_g{generation}" for (generation,) in cursor.fetchall() for table in LIST_TABLES}
    assert stored <= found, f"lost: {stored - found}"
    return found - stored
