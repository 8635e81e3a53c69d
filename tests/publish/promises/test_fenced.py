"""Fenced: by itself a generation goes live only above the highest (ds, seq) that ever was."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from recjobs.errors import PublishError
from recjobs.publish import operations, reading
from recjobs.publish.config import DatabaseConfig
from tests.publish.composed import night, settings_for
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
