"""Fills a generation's own tables from the composed lists: Parquet parts through Arrow into binary COPY.

The tables stand alone while they are filled, keyed and analysed; only then are they attached as
partitions, without a scan and without a lock that a reader waits for. Memory is bounded by the
row groups in flight, never by the number of users.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

import pgpq
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg2 import errors, sql
from psycopg2.extras import Json

from recjobs import columns, storage
from recjobs.errors import CorruptFileError, PublishError
from recjobs.publish import forgetting
from recjobs.publish.config import DatabaseConfig, PublishConfig
from recjobs.publish.connection import Connection, Cursor, connected, limits
from recjobs.publish.generations import Generation, by_id, drop_tables, partition, query
from recjobs.publish.packing import packed
from recjobs.publish.tables import TABLES, USERS, Table

_BATCH_ROWS = 8192
_COPY_BYTES = 1 << 18
_ROW_BYTES = 8160
"""Rows up to a page stay in it as they are: to compress them costs more than it saves."""
_ATTACH_SECONDS = 120
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One Parquet file of lists, the table it goes to and the surface it is for."""

    table: Table
    uri: str
    surface: str | None = None


def load(
    connection: Connection,
    database: DatabaseConfig,
    publish: PublishConfig,
    generation: Generation,
    parts: Sequence[Part],
    left_out: Collection[str] = (),
) -> Generation:
    """The generation in state `ready`: every row of `parts` in, keyed, analysed and attached.

    Forgotten users' rows are deleted first; `left_out` are the tombstones that `parts` were made without.
    On an error its tables stay until the next run clears up; live lists are never touched.

    Raises:
        PublishError: a file has a null, a key twice or a key too long, or rows are missing.
        CorruptFileError: a file is no Parquet or lacks a column.
        DatabaseUnavailableError: the server went away.
    """
    schema = database.schema_name
    _create(connection, schema, generation.generation)
    started = time.perf_counter()
    rows = _copy_all(database, publish, generation, parts)
    log.info("generation %s: %d rows copied in %.1f s", generation, sum(rows.values()), time.perf_counter() - started)
    _refuse_missing_rows(rows, parts)
    forgetting.clear_before_attach(connection, schema, generation, left_out)
    for table in TABLES:
        _key_and_analyse(connection, schema, table, generation)
    return _attach(connection, schema, publish.lock_timeout_ms, generation, rows)


def rows_of(parts: Sequence[Part]) -> dict[str, int]:
    """How many rows the files of each list table hold, by their footers."""
    rows = dict.fromkeys((table.name for table in TABLES), 0)
    for part in parts:
        with storage.reading(part.uri) as file:
            try:
                rows[part.table.name] += pq.read_metadata(file).num_rows
            except pa.ArrowException as error:
                raise _file_error(part, error) from error
    return rows


def discard(connection: Connection, schema: str, generation: Generation) -> None:
    """Removes a generation that was not finished, tables and row."""
    connection.rollback()
    with connection, connection.cursor() as cursor:
        cursor.execute(
            query(schema, "delete from {schema}.generations where generation = %s and state = 'loading'"),
            (generation.generation,),
        )
        if cursor.rowcount:
            drop_tables(cursor, schema, generation.generation)


def encode(table: Table, surface: str | None, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """The binary COPY stream of `batches`, piece by piece."""
    encoder = pgpq.ArrowToPostgresBinaryEncoder(table.schema)
    yield encoder.write_header()
    for batch in batches:
        yield encoder.write_batch(packed(table, surface, batch))
    yield encoder.finish()


class ByteStream:
    """What psycopg2 reads from: an iterator of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")
        self.failure: Exception | None = None
        """What went wrong while reading; psycopg2 tells only that something did."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none when all is read."""
        while not self._piece:
            try:
                self._piece = memoryview(next(self._pieces))
            except StopIteration:
                return b""
            except Exception as error:
                self.failure = error
                raise
        if size < 0:
            size = len(self._piece)
        taken, self._piece = self._piece[:size], self._piece[size:]
        return bytes(taken)

    def readline(self, size: int = -1, /) -> bytes:  # noqa: ARG002
        """psycopg2 asks whether it is there; a binary stream has no lines."""
        raise TypeError("a binary COPY stream has no lines")


def _create(connection: Connection, schema: str, generation: int) -> None:
    """The generation's tables, alone: what ATTACH needs to believe them without a scan is a CHECK.

    Nobody searches by what a list holds, so ANALYZE is spared those columns. Rows never change but when a user is
    forgotten, who is vacuumed away at once; an autovacuum of its own would only stand in the way of ATTACH.
    """
    with connection, connection.cursor() as cursor:
        for table in TABLES:
            payload = [
                sql.SQL("alter column {} set statistics 0").format(sql.Identifier(name)) for name in table.payload
            ]
            cursor.execute(
                sql.SQL(
                    "create table {child} (like {parent} including all excluding indexes) "
                    "with (toast_tuple_target = {row_bytes}, autovacuum_enabled = false); "
                    "alter table {child} alter column generation set default {generation}, "
                    "add constraint {check} check (generation is not null and generation = {generation}), {payload}"
                ).format(
                    child=partition(schema, table.name, generation),
                    parent=sql.Identifier(schema, table.name),
                    row_bytes=sql.Literal(_ROW_BYTES),
                    check=sql.Identifier(f"{table.name}_g{generation}_is"),
                    generation=sql.Literal(generation),
                    payload=sql.SQL(", ").join(payload),
                )
            )


def _copy_all(
    database: DatabaseConfig, publish: PublishConfig, generation: Generation, parts: Sequence[Part]
) -> dict[str, int]:
    """Copies the parts over several connections; rows the server says it took, by table."""
    rows = dict.fromkeys((table.name for table in TABLES), 0)
    queues = [parts[worker :: publish.connections] for worker in range(publish.connections)]
    with ThreadPoolExecutor(publish.connections) as pool:
        for copied in pool.map(lambda queue: _copy_parts(database, generation, queue), queues):
            for name, count in copied:
                rows[name] += count
    return rows


def _copy_parts(database: DatabaseConfig, generation: Generation, parts: Sequence[Part]) -> list[tuple[str, int]]:
    if not parts:
        return []
    with connected(database, purpose=f"recjobs load {generation.ds}") as connection:
        copied = []
        for part in parts:
            with connection, connection.cursor() as cursor:
                copied.append((part.table.name, _copy(cursor, database.schema_name, generation, part)))
        return copied


def _copy(cursor: Cursor, schema: str, generation: Generation, part: Part) -> int:
    statement = sql.SQL("copy {} ({}) from stdin with (format binary)").format(
        partition(schema, part.table.name, generation.generation),
        sql.SQL(", ").join(sql.Identifier(name) for name in part.table.schema.names),
    )
    with storage.reading(part.uri) as file:
        pieces = ByteStream(encode(part.table, part.surface, _batches(part, file)))
        try:
            cursor.copy_expert(statement, pieces, size=_COPY_BYTES)
        except (psycopg2.Error, pa.ArrowException) as error:
            raise _file_error(part, pieces.failure or error) from error
    return cursor.rowcount


def _batches(part: Part, file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    parquet = pq.ParquetFile(file)
    missing = set(part.table.parquet) - set(parquet.schema_arrow.names)
    if missing:
        raise pa.ArrowInvalid(f"no column {', '.join(sorted(missing))}")
    # Reasons repeat a lot: they are read as the numbers that the file has for them.
    paths = [parquet.schema.column(place).path for place in range(len(parquet.schema))]
    repeating = [path for path in paths if path.split(".")[0] == columns.REASON]
    parquet = pq.ParquetFile(file, metadata=parquet.metadata, read_dictionary=repeating)
    yield from parquet.iter_batches(_BATCH_ROWS, columns=list(part.table.parquet), use_threads=False)


def _file_error(part: Part, error: Exception) -> Exception:
    """The error with the file's name, where the file is to blame; else as it is."""
    if isinstance(error, pa.ArrowException):
        return CorruptFileError(
            f"{part.uri}: can't be read as lists ({error}). Delete the run of compose and run it again.", uri=part.uri
        )
    if isinstance(error, errors.DataError | PublishError):
        return PublishError(f"{part.uri}: {str(error).strip()}", uri=part.uri)
    return error


def _refuse_missing_rows(rows: dict[str, int], parts: Sequence[Part]) -> None:
    expected = rows_of(parts)
    if rows != expected or not rows[USERS.name]:
        raise PublishError(f"rows loaded {rows} must be the rows composed {expected}, and some. Run compose again.")


def _key_and_analyse(connection: Connection, schema: str, table: Table, generation: Generation) -> None:
    child = partition(schema, table.name, generation.generation)
    key = sql.SQL(", ").join(sql.Identifier(name) for name in ("generation", *table.key))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("alter table {} add primary key ({})").format(child, key))
            cursor.execute(sql.SQL("analyze {}").format(child))
    except psycopg2.IntegrityError as error:
        raise PublishError(f"{table.name}: a key is there twice: {str(error).strip()}") from error


def _attach(
    connection: Connection, schema: str, lock_timeout_ms: int, generation: Generation, rows: dict[str, int]
) -> Generation:
    """Makes the tables partitions and the generation `ready`, in one transaction that never queues before readers."""
    give_up = time.monotonic() + _ATTACH_SECONDS
    while True:
        try:
            with limits(connection, lock_timeout_ms=lock_timeout_ms), connection.cursor() as cursor:
                for table in TABLES:
                    cursor.execute(
                        sql.SQL("alter table {} attach partition {} for values in ({})").format(
                            sql.Identifier(schema, table.name),
                            partition(schema, table.name, generation.generation),
                            sql.Literal(generation.generation),
                        )
                    )
                cursor.execute(
                    query(
                        schema,
                        "update {schema}.generations set state = 'ready', counts = %s, loaded_at = clock_timestamp() "
                        "where generation = %s and state = 'loading'",
                    ),
                    (Json(rows), generation.generation),
                )
                return by_id(cursor, schema, generation.generation)
        except errors.LockNotAvailable:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)
