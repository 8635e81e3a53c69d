"""A published night to read from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg2 import extensions

from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from tests.publish.composed import night

Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def ask(tmp_path: Path, any_database: DatabaseConfig) -> Iterator[Ask]:
    """Runs a statement on a database with one live generation, 2026-01-05 of run r1."""
    night(tmp_path, any_database).publish()
    with connected(any_database, autocommit=True) as connection:
        yield lambda statement, *values: _rows(connection, statement, values)


def _rows(connection: extensions.connection, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []
