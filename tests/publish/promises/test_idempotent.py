"""Idempotent: the same run again changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from recjobs.errors import PublishBusyError
from recjobs.publish import operations, promotion, reading
from recjobs.publish.config import DatabaseConfig
from tests.publish.composed import night, settings_for
from tests.publish.promises.state import audit, live_number


def test_idempotent_same_run_changes_nothing(tmp_path: Path, any_database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, any_database)
    first = night(tmp_path, any_database).publish()
    before, said = reading.versions(settings), audit(any_database)
    again = night(tmp_path, any_database).publish()
    assert again.rows == first.rows
    assert again.metrics["live"] == 1
    assert reading.versions(settings) == before
    assert audit(any_database) == said


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
