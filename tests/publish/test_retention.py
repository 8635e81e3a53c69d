"""Retention: the newest stay, live and its predecessor always, and nobody who reads is held up."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import pytest

from recjobs.errors import PublishError
from recjobs.publish import operations, promotion, reading
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from tests.publish.composed import night, settings_for
from tests.publish.test_loading import tables


def stored(tmp_path: Path, database: DatabaseConfig) -> list[int]:
    """The days whose lists are stored, newest first."""
    return [g.ds.day for g in reading.versions(settings_for(tmp_path, database)) if g.stored]


def publish(tmp_path: Path, database: DatabaseConfig, *days: int, keep: int = 7) -> None:
    for day in days:
        overrides = {"publish.keep_generations": keep}
        night(tmp_path, database, ds=f"2026-01-{day:02d}", overrides=overrides).publish()


def test_each_night_keeps_the_newest(tmp_path: Path, database: DatabaseConfig) -> None:
    publish(tmp_path, database, 1, 2, 3, 4, 5, keep=3)
    assert stored(tmp_path, database) == [5, 4, 3]
    assert tables(database) == {
        f"{table}_g{generation}" for table in ("user_lists", "item_lists", "segment_lists") for generation in (3, 4, 5)
    }
    assert len(reading.versions(settings_for(tmp_path, database))) == 5


def test_live_and_its_predecessor_stay_whatever_is_newer(tmp_path: Path, database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, database)
    publish(tmp_path, database, 1, 2, 3, 4, 5, 6)
    operations.rollback(settings, date(2026, 1, 3), who="ann", why="known good")
    assert [g.ds.day for g in operations.prune(settings, 2)] == [1, 4]
    assert stored(tmp_path, database) == [6, 5, 3, 2]
    assert reading.show(settings, "u1")[0].item_id.startswith("2026-01-03")
    operations.rollback(settings, who="ann", why="the one before")
    assert reading.show(settings, "u1")[0].item_id.startswith("2026-01-02")


def test_pruned_lists_can_not_go_live(tmp_path: Path, database: DatabaseConfig) -> None:
    publish(tmp_path, database, 1, 2, 3, keep=2)
    with pytest.raises(
        PublishError, match=r"2026-01-01 seq 1 can't go live: its lists were pruned. Run that date again"
    ):
        operations.rollback(settings_for(tmp_path, database), date(2026, 1, 1), who="ann", why="mistake")


def test_a_generation_that_nobody_promoted_is_not_kept_for_good(
    tmp_path: Path, database: DatabaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise SystemExit("killed between load and promotion")

    with monkeypatch.context() as patched:
        patched.setattr(promotion, "publish", crash)
        with pytest.raises(SystemExit):
            publish(tmp_path, database, 1)
    publish(tmp_path, database, 2, 3, keep=2)
    assert stored(tmp_path, database) == [3, 2]


def test_the_fence_remembers_pruned_generations(tmp_path: Path, database: DatabaseConfig) -> None:
    publish(tmp_path, database, 1, 2, 3, keep=2)
    late = night(tmp_path, database, ds="2026-01-01", run="r2").publish()
    assert late.metrics["live"] == 0


def test_a_long_reader_delays_the_drop_not_the_night(tmp_path: Path, database: DatabaseConfig) -> None:
    publish(tmp_path, database, 1, 2)
    with connected(database) as reader, reader.cursor() as cursor:
        # Often enough for a plan that names, and so locks, every partition.
        for _ in range(10):
            cursor.execute("select item_id from recs.get_list('u1', 'home', 1)")
        before = cursor.fetchall()
        started = time.perf_counter()
        publish(tmp_path, database, 3, keep=2)
        assert time.perf_counter() - started < 20
        with connected(database) as other, other.cursor() as second:
            asked = time.perf_counter()
            second.execute("select item_id from recs.get_list('u1', 'home', 1)")
            assert second.fetchall() == [("2026-01-03/r1 i0",)]
            assert time.perf_counter() - asked < 1
        assert before == [("2026-01-02/r1 i0",)]
    assert stored(tmp_path, database) == [3, 2]
    assert len(tables(database)) > 6
    operations.prune(settings_for(tmp_path, database))
    assert len(tables(database)) == 6
