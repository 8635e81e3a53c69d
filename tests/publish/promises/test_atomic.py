"""Atomic: a reader sees all of one generation or all of another, never a mix, never none."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

from recjobs.publish import operations
from recjobs.publish.config import DatabaseConfig
from tests.publish.composed import night, settings_for
from tests.publish.promises.readers import reading_all_the_time


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
