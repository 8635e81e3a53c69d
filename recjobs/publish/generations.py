"""Generations: what one run publishes, numbered (ds, seq), and how a loader owns one while it loads.

A loader holds a session lock on its generation. A generation that is still loading while nobody
holds its lock was left by a loader that died; the next run removes it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from psycopg2 import errors, sql
from psycopg2.extras import Json

from recjobs.errors import PublishBusyError, PublishError
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import Connection, Cursor
from recjobs.publish.migrations import lock, lock_class

State = Literal["loading", "ready", "live", "superseded", "rejected"]
LIST_TABLES = ("user_lists", "item_lists", "segment_lists")
_COLUMNS = (
    "generation", "dataset", "ds", "seq", "run", "state", "counts", "checksum", "versions", "metrics", "gate",
    "created_at", "loaded_at", "first_live_at", "last_live_at", "pruned_at",
)  # fmt: skip
_ABANDONED_LOCK_TIMEOUT = "500ms"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generation:
    """One generation as the database has it."""

    generation: int
    dataset: str
    ds: date
    seq: int
    run: str
    state: State
    counts: dict[str, int]
    checksum: str | None
    versions: dict[str, Any]
    metrics: dict[str, float]
    gate: list[dict[str, Any]]
    created_at: datetime
    loaded_at: datetime | None
    first_live_at: datetime | None
    last_live_at: datetime | None
    pruned_at: datetime | None

    @property
    def number(self) -> tuple[date, int]:
        """(ds, seq): what the fence compares."""
        return self.ds, self.seq

    @property
    def stored(self) -> bool:
        """Whether its lists can be read, live or not."""
        return self.state in ("ready", "live", "superseded") and self.pruned_at is None

    def __str__(self) -> str:
        return f"{self.ds} seq {self.seq}"


@dataclass(frozen=True)
class Publication:
    """What a run brings: its identity, and what is recorded beside its lists."""

    dataset: str
    ds: date
    run: str
    checksum: str = ""
    versions: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    gate: Sequence[Mapping[str, Any]] = ()


def query(schema: str, text: str) -> sql.Composed:
    """A statement with {columns} of a generation and {schema} filled in, identifiers quoted."""
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in _COLUMNS)
    return sql.SQL(text).format(columns=columns, schema=sql.Identifier(schema))


def fetch(cursor: Cursor) -> list[Generation]:
    """The generations that the last statement selected as {columns}."""
    return [Generation(*row) for row in cursor.fetchall()]


def by_id(cursor: Cursor, schema: str, generation: int) -> Generation:
    """The generation of that id, which must exist."""
    cursor.execute(query(schema, "select {columns} from {schema}.generations where generation = %s"), (generation,))
    return fetch(cursor)[0]


def all_generations(cursor: Cursor, schema: str) -> list[Generation]:
    """Every generation, the highest (ds, seq) first."""
    cursor.execute(query(schema, "select {columns} from {schema}.generations order by ds desc, seq desc"))
    return fetch(cursor)


def live_generation(cursor: Cursor, schema: str) -> Generation | None:
    """The generation readers see, or None before the first."""
    cursor.execute(
        query(
            schema, "select {columns} from {schema}.generations natural join (select generation from {schema}.live) l"
        )
    )
    return next(iter(fetch(cursor)), None)


def register(connection: Connection, config: DatabaseConfig, publication: Publication) -> Generation:
    """This run's generation: the one it has, or a new one in state `loading` that this connection's session owns.

    A new one takes the next seq of its ds. Generations that dead loaders left are removed first.

    Raises:
        PublishError: the schema holds another dataset.
        PublishBusyError: another process is loading this very run.
    """
    schema = config.schema_name
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        refuse_other_dataset(cursor, schema, publication.dataset)
        remove_abandoned(cursor, schema)
        existing = find_run(cursor, schema, publication)
        if existing is not None and existing.state == "rejected":
            # Judged anew and passed: the gate's record is written again with the row.
            _delete(cursor, schema, existing)
            existing = None
        if existing is None:
            return _insert(cursor, schema, publication, "loading")
        if existing.state == "loading":
            raise PublishBusyError(
                f"generation {existing} of run {existing.run}: another process is loading it. Wait for it to end.",
                generation=existing.generation,
            )
        return existing


def reject(connection: Connection, config: DatabaseConfig, publication: Publication) -> Generation:
    """Records that the gate refused this run. A run that has a generation already keeps it as it is."""
    schema = config.schema_name
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        refuse_other_dataset(cursor, schema, publication.dataset)
        existing = find_run(cursor, schema, publication)
        return existing or _insert(cursor, schema, publication, "rejected")


def find_run(cursor: Cursor, schema: str, publication: Publication) -> Generation | None:
    """The generation of (dataset, ds, run), or None."""
    cursor.execute(
        query(schema, "select {columns} from {schema}.generations where (dataset, ds, run) = (%s, %s, %s)"),
        (publication.dataset, publication.ds, publication.run),
    )
    return next(iter(fetch(cursor)), None)


def remove_abandoned(cursor: Cursor, schema: str) -> list[Generation]:
    """Removes the tables and rows of loaders that died. The caller holds the schema's lock.

    A table that some session of a dead loader still has locked is left to the next call: whoever
    wants to promote or roll back waits for the schema's lock.
    """
    cursor.execute(query(schema, "select {columns} from {schema}.generations where state = 'loading'"))
    removed = []
    for generation in fetch(cursor):
        cursor.execute("select pg_try_advisory_xact_lock(%s, %s)", (lock_class(schema), generation.generation))
        if cursor.fetchone() == (True,) and _removed(cursor, schema, generation):
            log.info("generation %s: removed what a loader that died had left", generation)
            removed.append(generation)
    return removed


def _removed(cursor: Cursor, schema: str, generation: Generation) -> bool:
    cursor.execute("savepoint abandoned")
    cursor.execute("select set_config('lock_timeout', %s, true)", (_ABANDONED_LOCK_TIMEOUT,))
    try:
        drop_tables(cursor, schema, generation.generation)
    except errors.LockNotAvailable:
        cursor.execute("rollback to savepoint abandoned")
        log.warning("generation %s: a session of the loader that died is still at work; left for now", generation)
        return False
    _delete(cursor, schema, generation)
    return True


def drop_tables(cursor: Cursor, schema: str, generation: int) -> None:
    """Drops a generation's own tables where they exist; they must not be attached."""
    for table in LIST_TABLES:
        cursor.execute(sql.SQL("drop table if exists {}").format(partition(schema, table, generation)))


def partition(schema: str, table: str, generation: int) -> sql.Identifier:
    """The name of one generation's own table."""
    return sql.Identifier(schema, f"{table}_g{generation}")


def _delete(cursor: Cursor, schema: str, generation: Generation) -> None:
    cursor.execute(query(schema, "delete from {schema}.generations where generation = %s"), (generation.generation,))


def _insert(cursor: Cursor, schema: str, publication: Publication, state: State) -> Generation:
    cursor.execute(
        query(
            schema,
            "insert into {schema}.generations (dataset, ds, seq, run, state, checksum, versions, metrics, gate) select "
            "%s, %s, coalesce(max(seq), 0) + 1, %s, %s, %s, %s, %s, %s from {schema}.generations where ds = %s "
            "returning {columns}",
        ),
        (
            publication.dataset, publication.ds, publication.run, state, publication.checksum,
            Json(dict(publication.versions)), Json(dict(publication.metrics)),
            Json([dict(check) for check in publication.gate]), publication.ds,
        ),
    )  # fmt: skip
    generation = fetch(cursor)[0]
    if state == "loading":
        # Owned before the row can be seen, so that nobody takes it for abandoned.
        cursor.execute("select pg_advisory_lock(%s, %s)", (lock_class(schema), generation.generation))
    return generation


def refuse_other_dataset(cursor: Cursor, schema: str, dataset: str) -> None:
    """Refuses to touch or show a schema that holds another data set's lists.

    Raises:
        PublishError: it does.
    """
    cursor.execute(query(schema, "select dataset from {schema}.generations where dataset <> %s limit 1"), (dataset,))
    if found := cursor.fetchone():
        raise PublishError(
            f"schema {schema} holds the lists of dataset {found[0]!r}, and you ask for {dataset!r}. Give each dataset "
            "a schema of its own: set database.schema_name.",
            schema=schema,
            dataset=found[0],
        )
