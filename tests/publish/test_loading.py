"""Loading: odd ids survive, bad files are refused, a loader that dies leaves nothing behind."""

from __future__ import annotations

import random
import signal
import time
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recjobs import columns
from recjobs.errors import CorruptFileError, PublishError
from recjobs.publish import reading
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import Connection, connected
from recjobs.publish.loading import ByteStream, encode
from recjobs.publish.tables import USERS
from tests.publish.composed import Night, night, settings_for

ODD = (
    "'; drop table recs.live; --",
    'quote " and \\ backslash',
    "ünïcödé 用户 🙂",
    "{a,b}",
    "NULL",
    "",
    " spaces ",
    "tab\tnewline\n",
    "%s %(x)s {schema}",
    "z" * 2000,
)


def tables(database: DatabaseConfig) -> set[str]:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            r"select relname from pg_class join pg_namespace n on n.oid = relnamespace "
            r"where nspname = 'recs' and relkind = 'r' and relname like '%\_g%'"
        )
        return {name for (name,) in cursor.fetchall()}


def test_odd_ids_are_stored_and_found(tmp_path: Path, database: DatabaseConfig) -> None:
    one = night(tmp_path, database, users=ODD)
    one.publish()
    for user in ODD:
        assert len(reading.show(one.settings, user, n=3)) == 3
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("select user_id from recs.stored_user_lists where surface = 'home'")
        assert {user for (user,) in cursor.fetchall()} == set(ODD)


def test_a_long_id_is_refused_by_file_and_length(tmp_path: Path, database: DatabaseConfig) -> None:
    one = night(tmp_path, database, users=["u1", "x" * 10_000])
    with pytest.raises(
        PublishError, match=r"part-0000\d.parquet: column user_id: a value of 10000 bytes; at most 2000"
    ):
        one.publish()
    assert reading.versions(one.settings) == []
    assert tables(database) == set()


def broken(one: Night, table: pa.Table) -> Night:
    pq.write_table(table, one.inputs["compose"].uri("lists", "home", "part-00000.parquet"))
    return one


def rows_of(one: Night) -> pa.Table:
    return pq.read_table(one.inputs["compose"].uri("lists", "home", "part-00000.parquet"))


def test_a_null_is_refused(tmp_path: Path, database: DatabaseConfig) -> None:
    one = night(tmp_path, database)
    table = rows_of(one)
    nulls = pa.nulls(table.num_rows, pa.string())
    with pytest.raises(PublishError, match=r"lists/home/part-00000.parquet: column regime: \d+ nulls"):
        broken(one, table.set_column(4, columns.REGIME, nulls)).publish()


def test_a_missing_part_is_refused(tmp_path: Path, database: DatabaseConfig) -> None:
    one = night(tmp_path, database)
    left = pq.read_metadata(one.inputs["compose"].uri("lists", "home", "part-00000.parquet")).num_rows
    Path(one.inputs["compose"].uri("lists", "home", "part-00001.parquet")).unlink()
    with pytest.raises(PublishError, match=rf"lists/home: lists of {left} users, and compose's manifest says 20"):
        one.publish()


def test_a_user_twice_is_refused(tmp_path: Path, database: DatabaseConfig) -> None:
    one = night(tmp_path, database)
    table = rows_of(one)
    twice = pa.concat_tables([table.slice(1), table.slice(1, 1)])
    with pytest.raises(PublishError, match="user_lists: a key is there twice"):
        broken(one, twice).publish()
    assert reading.live(one.settings) is None
    assert tables(database) == set()


def test_a_nul_character_is_refused(tmp_path: Path, database: DatabaseConfig) -> None:
    with pytest.raises(PublishError, match=r'part-0000\d.parquet: invalid byte sequence for encoding "UTF8": 0x00'):
        night(tmp_path, database, users=["u1", "nul\0"]).publish()


def test_a_missing_column_names_the_file(tmp_path: Path, database: DatabaseConfig) -> None:
    one = night(tmp_path, database)
    with pytest.raises(CorruptFileError, match=r"lists/home/part-00000.parquet: .*reason"):
        broken(one, rows_of(one).drop_columns([columns.REASON])).publish()


def test_a_corrupt_file_names_itself_and_live_stays(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database, ds="2026-01-04").publish()
    one = night(tmp_path, database, ds="2026-01-05")
    Path(one.inputs["compose"].uri("lists", "email", "part-00001.parquet")).write_bytes(b"PAR1 no parquet PAR1")
    with pytest.raises(CorruptFileError, match=r"lists/email/part-00001.parquet: can't be read as lists"):
        one.publish()
    assert str(reading.live(one.settings)) == "2026-01-04 seq 1"


def test_no_users_at_all_never_goes_live(tmp_path: Path, database: DatabaseConfig) -> None:
    with pytest.raises(PublishError, match="and some"):
        night(tmp_path, database, users=[]).publish()


def test_killed_loaders_leave_live_alone_and_the_next_run_clears_up(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    night(tmp_path, database, ds="2026-01-04").publish()
    before = reading.show(settings, "u1")
    users = [f"u{n}" for n in range(60_000)]
    slow = night(tmp_path, database, users=users, length=20, overrides={"publish.connections": 1})
    moments = random.Random(17)
    with connected(database, autocommit=True) as watcher:
        # Others' progress is shown to the server's administrator alone.
        watcher.cursor().execute("reset role")
        for _ in range(3):
            loader = get_context("spawn").Process(target=slow.publish)
            loader.start()
            while not copying(watcher):
                assert loader.is_alive()
            time.sleep(moments.uniform(0, 0.2))
            loader.kill()
            loader.join()
            assert loader.exitcode == -signal.SIGKILL
            assert reading.show(settings, "u1") == before
    slow.publish()
    assert [str(g) for g in reading.versions(settings)] == ["2026-01-05 seq 1", "2026-01-04 seq 1"]
    assert len(tables(database)) == 6


def copying(watcher: Connection) -> bool:
    with watcher.cursor() as cursor:
        cursor.execute("select from pg_stat_progress_copy where datname = current_database() and tuples_processed > 0")
        return bool(cursor.rowcount)


@given(pieces=st.lists(st.binary(max_size=20)), size=st.integers(1, 9))
def test_the_byte_stream_gives_every_byte_once(pieces: list[bytes], size: int) -> None:
    stream = ByteStream(iter(pieces))
    read = []
    while block := stream.read(size):
        assert len(block) <= size
        read.append(block)
    assert b"".join(read) == b"".join(pieces)


def test_encoding_puts_the_surface_first(tmp_path: Path, database: DatabaseConfig) -> None:
    table = rows_of(night(tmp_path, database, users=["u1"]))
    stream = b"".join(encode(USERS, "home", table.to_batches()))
    assert stream.startswith(b"PGCOPY\n\xff\r\n\0")
    assert stream.endswith(b"\xff\xff")
