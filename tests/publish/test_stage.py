"""publish end to end on a real Postgres."""

from __future__ import annotations

import json
from pathlib import Path

from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from tests.publish.composed import night


def rows(database: DatabaseConfig, statement: str, *values: object) -> list[tuple[object, ...]]:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def test_published_lists_are_read_back(tmp_path: Path, database: DatabaseConfig) -> None:
    manifest = night(tmp_path, database).publish()
    assert manifest.rows == {"user_lists": 40, "item_lists": 10, "segment_lists": 4}
    assert all(check.passed for check in manifest.checks)
    assert json.loads(Path(manifest.uri("publication.json")).read_text())["state"] == "live"
    tag = "2026-01-05/r1"
    assert rows(database, "select position, item_id, reason from recs.get_list('u3', 'email', 2)") == [
        (1, f"{tag} i0", "email for you"),
        (2, f"{tag} i1", "email for you"),
    ]
