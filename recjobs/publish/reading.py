"""What people and scripts ask of the published lists, as typed records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg2 import sql

from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from recjobs.publish.generations import Generation, all_generations, live_generation, refuse_other_dataset
from recjobs.settings import Settings

_FETCH_ROWS = 2000


@dataclass(frozen=True)
class Recommendation:
    """One row of a list; `position` starts at 1."""

    position: int
    item_id: str
    score: float
    reason: str


def show(
    settings: Settings, user: str | None, surface: str = "home", n: int = 20, segment: str | None = None
) -> list[Recommendation]:
    """What the app gets for `user`: `get_list` itself, so at most `n` available items, best first.

    Empty when nothing is published, or not for that surface.

    Raises:
        DatabaseUnavailableError: the database does not answer.
        PublishError: the schema is not made yet.
    """
    return _recommendations(settings.database, "get_list(%s, %s, %s, %s)", user, surface, n, segment)


def similar(settings: Settings, item: str, n: int = 20) -> list[Recommendation]:
    """What the app gets for `item`: `similar_items` itself; empty for an unknown item."""
    return _recommendations(settings.database, "similar_items(%s, %s)", item, n)


def session(settings: Settings, items: list[str], n: int = 20) -> list[Recommendation]:
    """What the app gets for a visitor who has just seen `items`, the latest last: `session_list` itself."""
    return _recommendations(settings.database, "session_list(%s, %s)", items, n)


def iter_live_lists(settings: Settings, surface: str = "home") -> Iterator[tuple[str, list[str]]]:
    """Every user's stored list on `surface`, whole and unfiltered, by user id; all of one generation."""
    statement = sql.SQL(
        "select user_id, items from {schema}.stored_user_lists "
        "where generation = (select generation from {schema}.live_pointer) and surface = %s order by user_id"
    ).format(schema=sql.Identifier(settings.database.schema_name))
    with connected(settings.database) as connection, connection.cursor(name="live_lists") as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.execute(statement, (surface,))
        yield from cursor


def versions(settings: Settings) -> list[Generation]:
    """Every generation there ever was, the highest (ds, seq) first."""
    with connected(settings.database) as connection, connection.cursor() as cursor:
        refuse_other_dataset(cursor, settings.database.schema_name, settings.dataset)
        return all_generations(cursor, settings.database.schema_name)


def live(settings: Settings) -> Generation | None:
    """The generation that readers see, or None before the first."""
    with connected(settings.database) as connection, connection.cursor() as cursor:
        return live_generation(cursor, settings.database.schema_name)


def _recommendations(database: DatabaseConfig, call: str, *values: object) -> list[Recommendation]:
    statement = sql.SQL("select position, item_id, score, reason from {}.").format(sql.Identifier(database.schema_name))
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement + sql.SQL(call), values)
        return [Recommendation(*row) for row in cursor.fetchall()]
