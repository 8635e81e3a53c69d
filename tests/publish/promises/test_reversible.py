"""Reversible: rollback is one command, takes under a second and needs no recompute."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import pytest

from recjobs.errors import PublishError
from recjobs.publish import operations, reading
from recjobs.publish.config import DatabaseConfig
from tests.publish.composed import night, settings_for
from tests.publish.promises.state import live_number


def test_reversible_in_under_a_second_without_recompute(tmp_path: Path, any_database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, any_database)
    for day in (3, 4, 5):
        night(tmp_path, any_database, ds=f"2026-01-{day:02d}").publish()
    before = [(item.item_id, item.score) for item in reading.show(settings, "u1")]
    started = time.perf_counter()
    switch = operations.rollback(settings, who="ann", why="odd lists")
    assert time.perf_counter() - started < 1
    assert switch.message == "2026-01-04 seq 1 is live in place of 2026-01-05 seq 1."
    assert reading.show(settings, "u1")[0].item_id == "2026-01-04/r1 i0"
    operations.rollback(settings, who="ann", why="still odd")
    assert live_number(tmp_path, any_database) == ("2026-01-03", 1)
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
