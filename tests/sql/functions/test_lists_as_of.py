"""lists_as_of: the lists that the data until a date gave."""

from __future__ import annotations

from pathlib import Path

from recjobs.publish.config import DatabaseConfig
from tests.publish.composed import night
from tests.sql.conftest import Ask


def test_the_newest_generation_of_a_date_or_before(tmp_path: Path, any_database: DatabaseConfig, ask: Ask) -> None:
    night(tmp_path, any_database, ds="2026-01-03").publish()
    night(tmp_path, any_database, ds="2026-01-03", run="r2").publish()
    statement = "select ds::text, seq, items[1] from recs.lists_as_of(%s) where user_id = 'u1' and surface = 'home'"
    assert ask(statement, "2026-01-04") == [("2026-01-03", 2, "2026-01-03/r2 i0")]
    assert ask(statement, "2026-01-05") == ask(statement, "2030-01-01") == [("2026-01-05", 1, "2026-01-05/r1 i0")]
    assert ask(statement, "2026-01-02") == []
    assert ask(statement, None) == []


def test_one_user_is_one_index_probe(ask: Ask) -> None:
    plan = ask("explain select items from recs.lists_as_of('2026-01-05') where user_id = 'u1' and surface = 'home'")
    assert "Function Scan" not in "\n".join(line for (line,) in plan)
