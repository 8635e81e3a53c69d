"""Gated: a refused generation never goes live by itself."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from recjobs.errors import GateRefusedError, PublishError
from recjobs.publish import operations, reading
from recjobs.publish.config import DatabaseConfig
from tests.publish.composed import night, settings_for
from tests.publish.promises.state import live_number


def test_gated_refused_lists_are_recorded_and_never_live(tmp_path: Path, any_database: DatabaseConfig) -> None:
    settings = settings_for(tmp_path, any_database)
    night(tmp_path, any_database, ds="2026-01-04").publish()
    with pytest.raises(GateRefusedError, match="lists are short"):
        night(tmp_path, any_database, ds="2026-01-05", refused=True).publish()
    refused, live = reading.versions(settings)
    assert (refused.ds, refused.state, live.state) == (date(2026, 1, 5), "rejected", "live")
    assert refused.gate[0]["name"] == "full"
    with pytest.raises(PublishError, match="it is rejected and has no lists"):
        operations.promote(settings, date(2026, 1, 5), force=True, who="ann", why="no matter what")
    night(tmp_path, any_database, ds="2026-01-05").publish()
    assert live_number(tmp_path, any_database) == ("2026-01-05", 1)


def test_gated_also_where_the_refusal_cannot_be_recorded(tmp_path: Path, database: DatabaseConfig) -> None:
    nowhere = {"database.url": "postgresql://someone:secret@127.0.0.1:1/none"}
    with pytest.raises(GateRefusedError, match="lists are short"):
        night(tmp_path, database, refused=True, overrides=nowhere).publish()
