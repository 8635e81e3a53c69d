"""Fenced: by itself a generation goes live only above the highest (ds, seq) that ever was."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest

from recjobs.errors import PublishError
from recjobs.publish import generations, loading, migrations, operations, promotion, reading, stage
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from recjobs.publish.generations import Publication
from tests.publish.composed import Night, night, settings_for
from tests.publish.promises.loaders import Loader
from tests.publish.promises.readers import reading_all_the_time
from tests.publish.promises.state import audit, live_number


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
def test_fenced_when_runs_finish_at_once(tmp_path: Path, any_database: DatabaseConfig, first_ever: bool) -> None:
    if not first_ever:
        night(tmp_path, any_database, ds="2026-01-01").publish()
    days = [f"2026-01-{day:02d}" for day in (3, 9, 5, 8)]
    nights = [night(tmp_path, any_database, ds=day) for day in days]
    with ThreadPoolExecutor(len(nights)) as pool:
        list(pool.map(lambda one: one.publish(), nights))
    assert live_number(tmp_path, any_database) == ("2026-01-09", 1)
    states = Counter(g.state for g in reading.versions(settings_for(tmp_path, any_database)))
    assert states == {"live": 1, "superseded": 3 if first_ever else 4}


def test_fenced_after_rollback_until_a_higher_date(tmp_path: Path, any_database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, any_database)
    night(tmp_path, any_database, ds="2026-01-04").publish()
    night(tmp_path, any_database, ds="2026-01-05").publish()
    operations.rollback(settings, who="ann", why="odd lists")
    rerun = night(tmp_path, any_database, ds="2026-01-05", run="r2").publish()
    assert rerun.metrics["live"] == 0
    assert "stays until a date after 2026-01-05" in rerun.notes[0]
    assert live_number(tmp_path, any_database) == ("2026-01-04", 1)
    night(tmp_path, any_database, ds="2026-01-06").publish()
    assert live_number(tmp_path, any_database) == ("2026-01-06", 1)
    night(tmp_path, any_database, ds="2026-01-06", run="r2").publish()
    assert live_number(tmp_path, any_database) == ("2026-01-06", 2)


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


def test_fenced_when_loaders_race_in_both_orders(tmp_path: Path, database: DatabaseConfig) -> None:
    """10 races of two processes of different dates, their clocks years apart; either may be through first."""
    draw, older_was = random.Random(7), Counter[str]()
    night(tmp_path, database, ds="2026-01-01").publish()
    with reading_all_the_time(database, threads=2, forward=True, pause=0.01) as readers:
        for race in range(10):
            days = [str(date(2026, 1, 2) + timedelta(days=2 * race + later)) for later in (0, 1)]
            nights = {day: night(tmp_path, database, ds=day) for day in days}
            order = days if race % 2 else days[::-1]
            loaders = {}
            for day in order:
                loaders[day] = Loader(nights[day], clock_off_by=draw.uniform(-1e8, 1e8))
                time.sleep(draw.uniform(0, 0.1))
            assert loaders[days[1]].outcome() == "live"
            older_was[loaders[days[0]].outcome()] += 1
            assert live_number(tmp_path, database) == (days[1], 1)
    assert set(older_was) == {"live", "aside"}, older_was
    assert readers.faults == []


def test_fenced_whatever_the_clocks_say(tmp_path: Path, database: DatabaseConfig) -> None:
    """The server's clock too: every timestamp it wrote is moved by years, back and forth, before each step."""
    settings, draw = settings_for(tmp_path, database), random.Random(8)

    def publish(day: int, run: str = "r1") -> float:
        scramble_times(database, draw)
        overrides = {"publish.keep_generations": 3}
        return (
            night(tmp_path, database, ds=f"2026-01-{day:02d}", run=run, overrides=overrides).publish().metrics["live"]
        )

    for _ in range(3):
        shown = [publish(day) for day in (5, 3, 6, 4, 6, 7)]
        assert shown == [1, 0, 1, 0, 1, 1]
        scramble_times(database, draw)
        operations.rollback(settings, who="ann", why="odd lists")
        assert live_number(tmp_path, database) == ("2026-01-06", 1)
        assert publish(7, "r2") == 0
        assert publish(8) == 1
        assert [g.ds.day for g in reading.versions(settings) if g.stored] == [8, 7, 7]
        with connected(database) as connection, connection, connection.cursor() as cursor:
            cursor.execute("reset role")
            cursor.execute("drop schema recs cascade")


def scramble_times(database: DatabaseConfig, draw: random.Random) -> None:
    """Moves each generation's times by up to three years, to the future or the past."""
    with connected(database) as connection, connection, connection.cursor() as cursor:
        cursor.execute("select to_regclass('recs.generations')")
        if cursor.fetchone() == (None,):
            return
        cursor.execute("select setseed(%s)", (draw.uniform(-1, 1),))
        cursor.execute(
            "update recs.generations set created_at = now() + (random() - 0.5) * interval '6 years', "
            "loaded_at = loaded_at + (random() - 0.5) * interval '6 years', "
            "first_live_at = first_live_at + (random() - 0.5) * interval '6 years', "
            "last_live_at = last_live_at + (random() - 0.5) * interval '6 years', "
            "pruned_at = pruned_at + (random() - 0.5) * interval '6 years'"
        )


def test_fenced_a_generation_taken_back_needs_force_to_return(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    night(tmp_path, database, ds="2026-01-04").publish()
    night(tmp_path, database, ds="2026-01-05").publish()
    operations.rollback(settings, who="ann", why="odd lists")
    with pytest.raises(PublishError, match="2026-01-05 seq 1 was rolled back, and stays so"):
        operations.promote(settings, date(2026, 1, 5), who="ann", why="a test")
    assert live_number(tmp_path, database) == ("2026-01-04", 1)


@pytest.mark.parametrize("change", ["publish", "promote", "rollback"])
def test_fenced_one_change_of_what_is_live_at_a_time(tmp_path: Path, database: DatabaseConfig, change: str) -> None:
    """While one holds the schema's lock, whatever the other has read by then would be old when it writes."""
    settings = settings_for(tmp_path, database)
    for day in (3, 4):
        night(tmp_path, database, ds=f"2026-01-{day:02d}").publish()
    ready = ready_generation(night(tmp_path, database, ds="2026-01-05"), database)
    changes: dict[str, Callable[[], object]] = {
        "publish": lambda: promote_by_itself(database, ready),
        "promote": lambda: operations.promote(settings, date(2026, 1, 3), force=True, who="ann", why="a test"),
        "rollback": lambda: operations.rollback(settings, who="ann", why="a test"),
    }
    with ThreadPoolExecutor(1) as pool, connected(database) as holder, holder.cursor() as cursor:
        migrations.lock(cursor, database.schema_name)
        changing = pool.submit(changes[change])
        time.sleep(0.5)
        assert not changing.done()
        assert live_number(tmp_path, database) == ("2026-01-04", 1)
        holder.commit()
        changing.result(timeout=30)
    assert live_number(tmp_path, database) != ("2026-01-04", 1)


def test_fenced_another_data_set_can_not_switch_what_is_live(tmp_path: Path, database: DatabaseConfig) -> None:
    """A config that forgot its schema's name meets somebody else's lists."""
    for day in (4, 5):
        night(tmp_path, database, ds=f"2026-01-{day:02d}").publish()
    settings = settings_for(tmp_path, database, {"dataset": "shop"})
    refused = pytest.raises(PublishError, match="holds the lists of dataset 'planted', and you ask for 'shop'")
    with refused:
        operations.rollback(settings, who="ann", why="mistake")
    with refused:
        operations.promote(settings, date(2026, 1, 4), force=True, who="ann", why="mistake")
    with refused:
        operations.prune(settings, 2, who="ann")
    with refused:
        reading.versions(settings)
    assert live_number(tmp_path, database) == ("2026-01-05", 1)


def ready_generation(loaded: Night, database: DatabaseConfig) -> int:
    """Loads a night without promoting it; its generation's number inside the database."""
    parts = stage.parts_of(loaded.inputs["compose"], list(loaded.settings.compose.surfaces))
    with connected(database) as connection:
        found = generations.register(connection, database, Publication("planted", loaded.inputs.ds, "r1"))
        return loading.load(connection, database, loaded.settings.publish, found, parts).generation


def promote_by_itself(database: DatabaseConfig, generation: int) -> None:
    with connected(database) as connection:
        promotion.publish(connection, database.schema_name, generation, promotion.Reason("publish", "a test"))
