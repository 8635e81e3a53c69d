"""Generations: whose schema it is."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from recjobs.errors import PublishError
from recjobs.publish import generations
from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from recjobs.publish.generations import Publication
from tests.publish.composed import night


def test_another_dataset_is_refused(tmp_path: Path, database: DatabaseConfig) -> None:
    night(tmp_path, database).publish()
    with connected(database) as connection, pytest.raises(PublishError, match=r"'planted'.* set database\.schema_name"):
        generations.register(connection, database, Publication("other", date(2026, 1, 6), "r1"))
