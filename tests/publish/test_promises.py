"""The promises of publishing, each broken on purpose on a real Postgres (DESIGN §8)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from psycopg2 import extensions

from recjobs.errors import GateRefusedError, PublishBusyError, PublishError
from recjobs.publish import generations, operations, promotion, reading
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from recjobs.publish.generations import Publication
from tests.publish.composed import night, settings_for

ONE_STATEMENT = """
    select item_id from recs.get_list('u3')
    union all select item_id from recs.get_list('u3', 'email')
    union all select item_id from recs.get_list('nobody', 'home', 20, 'country=GB')
    union all select item_id from recs.similar_items('i3')
    union all select item_id from recs.session_list(array['i1', 'i2'])
    union all select item_id from recs.lists where user_id = 'u5'
    union all select unnest(items) from recs.lists_as_of((select ds from recs.live_generation)) where user_id = 'u7'
"""
SEVERAL_STATEMENTS = (
    "select item_id from recs.get_list('u3')",
    "select item_id from recs.get_list('u4', 'email')",
    "select item_id from recs.similar_items('i3')",
    "select item_id from recs.session_list(array['i1'])",
    "select item_id from recs.lists where user_id = 'u5' and surface = 'home'",
)


def tags(rows: list[tuple[str]]) -> set[str]:
    """The runs that items in `rows` come from."""
    return {item.split(" ")[0] for (item,) in rows}


def live_number(tmp_path: Path, database: DatabaseConfig) -> tuple[str, int]:
    live = reading.live(settings_for(tmp_path, database))
    assert live is not None
    return str(live.ds), live.seq


def audit(database: DatabaseConfig) -> list[tuple[str, str, bool, str]]:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select action, ds::text || '/' || seq, forced, who from recs.audit "
            "join recs.generations using (generation) where action <> 'prune' order by id"
        )
        return cursor.fetchall()


class Readers:
    """Threads that read until told to stop, and note what they saw."""

    def __init__(self, database: DatabaseConfig, threads: int) -> None:
        self.database = database
        self.seen: Counter[str] = Counter()
        self.faults: list[str] = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def _run(self, number: int) -> None:
        try:
            with connected(self.database) as connection:
                if number % 2:
                    connection.set_session(isolation_level=extensions.ISOLATION_LEVEL_REPEATABLE_READ)
                while not self.stop.is_set():
                    with connection, connection.cursor() as cursor:
                        self._check(self._snapshot(cursor) if number % 2 else self._statement(cursor))
        except Exception as error:
            self.faults.append(repr(error))

    def _statement(self, cursor: extensions.cursor) -> set[str]:
        cursor.execute(ONE_STATEMENT)
        return tags(cursor.fetchall())

    def _snapshot(self, cursor: extensions.cursor) -> set[str]:
        found: set[str] = set()
        for statement in SEVERAL_STATEMENTS:
            cursor.execute(statement)
            now = tags(cursor.fetchall())
            if not now:
                self.faults.append(f"empty: {statement}")
            found |= now
        return found

    def _check(self, found: set[str]) -> None:
        if len(found) == 1:
            self.seen[found.pop()] += 1
        else:
            self.faults.append(f"a mix of {found}" if found else "empty")


@contextmanager
def reading_all_the_time(database: DatabaseConfig, threads: int = 4) -> Iterator[Readers]:
    readers = Readers(database, threads)
    for thread in readers.threads:
        thread.start()
    try:
        yield readers
    finally:
        readers.stop.set()
        for thread in readers.threads:
            thread.join(timeout=30)


def test_atomic_under_promotion_back_and_forth(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    night(tmp_path, database, ds="2026-01-01").publish()
    night(tmp_path, database, ds="2026-01-02").publish()
    with reading_all_the_time(database) as readers:
        ends = time.monotonic() + 3
        switches = 0
        while time.monotonic() < ends:
            operations.rollback(settings, who="test", why="forth")
            operations.promote(settings, date(2026, 1, 2), force=True, who="test", why="back")
            switches += 2
    assert readers.faults == []
    assert set(readers.seen) == {"2026-01-01/r1", "2026-01-02/r1"}
    assert sum(readers.seen.values()) > 50
    assert switches > 10


def test_atomic_while_nights_are_loaded_and_pruned(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database, ds="2026-01-01").publish()
    with reading_all_the_time(database) as readers:
        for day in range(2, 8):
            night(tmp_path, database, ds=f"2026-01-{day:02d}", overrides={"publish.keep_generations": 2}).publish()
    assert readers.faults == []
    assert "2026-01-07/r1" in readers.seen or len(readers.seen) > 1


def test_fenced_first_ever_goes_live(tmp_path: Path, database: DatabaseConfig) -> None:
    assert night(tmp_path, database).publish().metrics["live"] == 1
    assert live_number(tmp_path, database) == ("2026-01-05", 1)


def test_fenced_older_date_after_newer_stays_aside(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database, ds="2026-01-05").publish()
    late = night(tmp_path, database, ds="2026-01-04").publish()
    assert late.metrics["live"] == 0
    assert late.notes == ("2026-01-04 seq 1 stays aside: 2026-01-05 seq 1 is newer and was live.",)
    assert live_number(tmp_path, database) == ("2026-01-05", 1)
    assert [g.state for g in reading.versions(settings_for(tmp_path, database))] == ["live", "superseded"]


def test_fenced_newer_date_after_older_goes_live(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database, ds="2026-01-04").publish()
    night(tmp_path, database, ds="2026-01-05").publish()
    assert live_number(tmp_path, database) == ("2026-01-05", 1)


def test_fenced_rerun_of_the_same_date_goes_live(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database, run="r1").publish()
    night(tmp_path, database, run="r2").publish()
    assert live_number(tmp_path, database) == ("2026-01-05", 2)


@pytest.mark.parametrize("first_ever", [True, False])
def test_fenced_when_runs_finish_at_once(tmp_path: Path, database: DatabaseConfig, first_ever: bool) -> None:
    if not first_ever:
        night(tmp_path, database, ds="2026-01-01").publish()
    days = [f"2026-01-{day:02d}" for day in (3, 9, 5, 8)]
    nights = [night(tmp_path, database, ds=day) for day in days]
    with ThreadPoolExecutor(len(nights)) as pool:
        list(pool.map(lambda one: one.publish(), nights))
    assert live_number(tmp_path, database) == ("2026-01-09", 1)
    states = Counter(g.state for g in reading.versions(settings_for(tmp_path, database)))
    assert states == {"live": 1, "superseded": 3 if first_ever else 4}


def test_fenced_after_rollback_until_a_higher_date(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    night(tmp_path, database, ds="2026-01-04").publish()
    night(tmp_path, database, ds="2026-01-05").publish()
    operations.rollback(settings, who="ann", why="odd lists")
    rerun = night(tmp_path, database, ds="2026-01-05", run="r2").publish()
    assert rerun.metrics["live"] == 0
    assert "stays until a date after 2026-01-05" in rerun.notes[0]
    assert live_number(tmp_path, database) == ("2026-01-04", 1)
    night(tmp_path, database, ds="2026-01-06").publish()
    assert live_number(tmp_path, database) == ("2026-01-06", 1)
    night(tmp_path, database, ds="2026-01-06", run="r2").publish()
    assert live_number(tmp_path, database) == ("2026-01-06", 2)


def test_fenced_unless_forced_which_is_audited(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    night(tmp_path, database, ds="2026-01-05").publish()
    night(tmp_path, database, ds="2026-01-04").publish()
    with pytest.raises(PublishError, match=r"2026-01-04 seq 1 stays aside: .* Give --force"):
        operations.promote(settings, date(2026, 1, 4), who="ann", why="a test")
    switch = operations.promote(settings, date(2026, 1, 4), force=True, who="ann", why="a test")
    assert switch.message == "2026-01-04 seq 1 is live in place of 2026-01-05 seq 1."
    assert audit(database) == [
        ("publish", "2026-01-05/1", False, "publish"),
        ("promote", "2026-01-04/1", True, "ann"),
    ]


def test_idempotent_same_run_changes_nothing(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    first = night(tmp_path, database).publish()
    before, said = reading.versions(settings), audit(database)
    again = night(tmp_path, database).publish()
    assert again.rows == first.rows
    assert again.metrics["live"] == 1
    assert reading.versions(settings) == before
    assert audit(database) == said


def test_idempotent_same_run_does_not_undo_a_rollback(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database, ds="2026-01-04").publish()
    newer = night(tmp_path, database, ds="2026-01-05")
    newer.publish()
    operations.rollback(settings_for(tmp_path, database), who="ann", why="odd lists")
    assert newer.publish().metrics["live"] == 0
    assert live_number(tmp_path, database) == ("2026-01-04", 1)


def test_idempotent_twice_at_once_loads_once(tmp_path: Path, database: DatabaseConfig) -> None:
    def attempt() -> str:
        try:
            one.publish()
        except PublishBusyError as busy:
            return str(busy)
        return "published"

    (tmp_path / "one").mkdir()
    one = night(tmp_path / "one", database)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda _: attempt(), range(2)))
    assert "published" in outcomes
    assert all(said == "published" or "another process is loading it" in said for said in outcomes)
    assert [g.number for g in reading.versions(settings_for(tmp_path, database))] == [(date(2026, 1, 5), 1)]


def test_idempotent_goes_on_where_a_crash_left_it_loaded(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise SystemExit("killed between load and promotion")

    with monkeypatch.context() as patched:
        patched.setattr(promotion, "publish", crash)
        with pytest.raises(SystemExit):
            night(tmp_path, database).publish()
    assert [g.state for g in reading.versions(settings_for(tmp_path, database))] == ["ready"]
    assert night(tmp_path, database).publish().metrics["live"] == 1
    assert len(reading.versions(settings_for(tmp_path, database))) == 1


def test_gated_refused_lists_are_recorded_and_never_live(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    night(tmp_path, database, ds="2026-01-04").publish()
    with pytest.raises(GateRefusedError, match="lists are short"):
        night(tmp_path, database, ds="2026-01-05", refused=True).publish()
    refused, live = reading.versions(settings)
    assert (refused.ds, refused.state, live.state) == (date(2026, 1, 5), "rejected", "live")
    assert refused.gate[0]["name"] == "full"
    with pytest.raises(PublishError, match="it is rejected and has no lists"):
        operations.promote(settings, date(2026, 1, 5), force=True, who="ann", why="no matter what")
    night(tmp_path, database, ds="2026-01-05").publish()
    assert live_number(tmp_path, database) == ("2026-01-05", 1)


def test_gated_also_where_the_refusal_cannot_be_recorded(tmp_path: Path, database: DatabaseConfig) -> None:
    nowhere = {"database.url": "postgresql://someone:secret@127.0.0.1:1/none"}
    with pytest.raises(GateRefusedError, match="lists are short"):
        night(tmp_path, database, refused=True, overrides=nowhere).publish()


def test_reversible_in_under_a_second_without_recompute(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    for day in (3, 4, 5):
        night(tmp_path, database, ds=f"2026-01-{day:02d}").publish()
    before = [(item.item_id, item.score) for item in reading.show(settings, "u1")]
    started = time.perf_counter()
    switch = operations.rollback(settings, who="ann", why="odd lists")
    assert time.perf_counter() - started < 1
    assert switch.message == "2026-01-04 seq 1 is live in place of 2026-01-05 seq 1."
    assert reading.show(settings, "u1")[0].item_id == "2026-01-04/r1 i0"
    operations.rollback(settings, who="ann", why="still odd")
    assert live_number(tmp_path, database) == ("2026-01-03", 1)
    with pytest.raises(PublishError, match="no earlier generation that was live is kept"):
        operations.rollback(settings, who="ann", why="even older")
    operations.promote(settings, date(2026, 1, 5), force=True, who="ann", why="fixed")
    assert [(item.item_id, item.score) for item in reading.show(settings, "u1")] == before


def test_reversible_to_a_given_older_generation_only(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    for day in (3, 4, 5):
        night(tmp_path, database, ds=f"2026-01-{day:02d}").publish()
    with pytest.raises(PublishError, match="is not older than"):
        operations.rollback(settings, date(2026, 1, 5), who="ann", why="mistake")
    with pytest.raises(PublishError, match="no generation 2026-01-01"):
        operations.rollback(settings, date(2026, 1, 1), who="ann", why="mistake")
    operations.rollback(settings, date(2026, 1, 3), who="ann", why="known good")
    assert live_number(tmp_path, database) == ("2026-01-03", 1)


def test_another_dataset_is_refused(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database).publish()
    with connected(database) as connection, pytest.raises(PublishError, match=r"'planted'.* set database\.schema_name"):
        generations.register(connection, database, Publication("other", date(2026, 1, 6), "r1"))
