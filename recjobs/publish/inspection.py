"""What the database holds, for people: server, roles, who can read, which generations take how much room, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import READER, WRITER, Cursor, connected, place_of
from recjobs.publish.generations import LIST_TABLES, Generation, all_generations, live_generation
from recjobs.publish.migrations import Status, refuse_old_server, server_version, status
from recjobs.publish.promotion import predecessor
from recjobs.settings import Settings

_READ_FUNCTIONS = ("get_list", "similar_items", "session_list", "lists_as_of")
_READ_VIEW = "lists"


@dataclass(frozen=True)
class Login:
    """A login that is in the reader's role."""

    name: str
    reads: bool
    """Whether it may connect, call every read function and select from the view."""


@dataclass(frozen=True)
class Kept:
    """A generation whose lists are stored."""

    generation: Generation
    size: int
    """Bytes on disk, indexes included."""
    why: tuple[str, ...] = ()
    """What keeps it from being pruned."""


@dataclass(frozen=True)
class Overview:
    """One schema and the server it is on."""

    place: str
    server: str
    schema: str
    migrations: Status
    acts_as: str
    """The role whose rights our own connections use."""
    missing_roles: tuple[str, ...]
    logins: tuple[Login, ...]
    """Superusers left out: they may do everything."""
    live: Generation | None
    stored: tuple[Kept, ...]
    held_up: tuple[Kept, ...]
    """Pruned, and still on disk: somebody reads for long."""

    @property
    def has_tables(self) -> bool:
        """Whether all numbered migrations are applied; before that nothing is said of generations."""
        return _has_tables(self.migrations)


def overview(settings: Settings) -> Overview:
    """What is there now; changes nothing. Generations are left out while a numbered migration is pending.

    Raises:
        DatabaseUnavailableError: the database does not answer.
        SettingsError: the server is older than PostgreSQL 15.
    """
    database = settings.database
    with connected(database, purpose="recjobs status") as connection:
        refuse_old_server(connection, database)
        migrations = status(connection, database)
        with connection, connection.cursor() as cursor:
            kept, held_up, live = _generations(cursor, settings, migrations)
            return Overview(
                place=place_of(database),
                server=server_version(connection),
                schema=database.schema_name,
                migrations=migrations,
                acts_as=_acts_as(cursor),
                missing_roles=tuple(role for role in (WRITER, READER) if not _exists(cursor, role)),
                logins=_logins(cursor, database),
                live=live,
                stored=kept,
                held_up=held_up,
            )


def after_pruning(settings: Settings, keep: int | None = None) -> tuple[tuple[Kept, ...], tuple[Kept, ...]]:
    """The generations that are stored, each with what keeps it, and those whose tables a reader still holds up."""
    with connected(settings.database, purpose="recjobs prune") as connection, connection, connection.cursor() as cursor:
        return _kept_and_held_up(cursor, settings, keep)


def _generations(
    cursor: Cursor, settings: Settings, migrations: Status
) -> tuple[tuple[Kept, ...], tuple[Kept, ...], Generation | None]:
    if not _has_tables(migrations):
        return (), (), None
    kept, held_up = _kept_and_held_up(cursor, settings, None)
    return kept, held_up, live_generation(cursor, settings.database.schema_name)


def _has_tables(migrations: Status) -> bool:
    return not any(
        name.startswith("migrations/") for name in (*migrations.pending, *migrations.changed, *migrations.unknown)
    )


def _kept_and_held_up(
    cursor: Cursor, settings: Settings, keep: int | None
) -> tuple[tuple[Kept, ...], tuple[Kept, ...]]:
    schema = settings.database.schema_name
    newest = settings.publish.keep_generations if keep is None else keep
    sizes, generations = _sizes(cursor, schema), all_generations(cursor, schema)
    live = live_generation(cursor, schema)
    before = predecessor(cursor, schema, live) if live else None
    stored = [generation for generation in generations if generation.stored]
    kept = tuple(
        Kept(generation, sizes.get(generation.generation, 0), _why(generation, stored[:newest], live, before))
        for generation in stored
    )
    held_up = tuple(Kept(g, sizes[g.generation]) for g in generations if g.pruned_at and g.generation in sizes)
    return kept, held_up


def _why(
    generation: Generation, newest: Sequence[Generation], live: Generation | None, before: Generation | None
) -> tuple[str, ...]:
    reasons = []
    if live is None:
        reasons.append("nothing is live yet")
    if live is not None and generation.generation == live.generation:
        reasons.append("live")
    if before is not None and generation.generation == before.generation:
        reasons.append("rollback goes there")
    if any(generation.generation == one.generation for one in newest):
        reasons.append(f"one of the newest {len(newest)}")
    return tuple(reasons) or ("may be about to go live",)


def _sizes(cursor: Cursor, schema: str) -> dict[int, int]:
    """Bytes on disk by generation, of every generation that has tables of its own."""
    cursor.execute(
        "select substring(c.relname from '_g([0-9]+)$')::integer, "
        "sum(coalesce(pg_total_relation_size(c.oid), 0))::bigint "
        "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relkind = 'r' and substring(c.relname from '^(.*)_g[0-9]+$') = any (%s) group by 1",
        (schema, list(LIST_TABLES)),
    )
    return dict(cursor.fetchall())


def _acts_as(cursor: Cursor) -> str:
    cursor.execute("select current_user")
    row = cursor.fetchone()
    assert row is not None
    return str(row[0])


def _exists(cursor: Cursor, role: str) -> bool:
    cursor.execute("select from pg_roles where rolname = %s", (role,))
    return bool(cursor.rowcount)


def _logins(cursor: Cursor, database: DatabaseConfig) -> tuple[Login, ...]:
    if not _exists(cursor, READER):
        return ()
    cursor.execute(
        "select r.rolname, has_database_privilege(r.oid, current_database(), 'connect') "
        "and (select coalesce(bool_and(has_schema_privilege(r.oid, n.oid, 'usage')), false) "
        "     from pg_namespace n where n.nspname = %(schema)s) "
        "and (select count(distinct p.proname) = %(functions)s "
        "     from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
        "     where n.nspname = %(schema)s and p.proname = any (%(names)s) "
        "     and has_function_privilege(r.oid, p.oid, 'execute')) "
        "and (select count(*) = 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "     where n.nspname = %(schema)s and c.relname = %(view)s and has_table_privilege(r.oid, c.oid, 'select')) "
        "from pg_roles r where r.rolcanlogin and not r.rolsuper and pg_has_role(r.oid, %(reader)s, 'member') "
        "order by r.rolname",
        {
            "schema": database.schema_name,
            "functions": len(_READ_FUNCTIONS),
            "names": list(_READ_FUNCTIONS),
            "view": _READ_VIEW,
            "reader": READER,
        },
    )
    return tuple(Login(name, reads) for name, reads in cursor.fetchall())
