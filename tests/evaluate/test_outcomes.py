"""Outcomes straight from the sources: the days after, no others, bad rows left out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recjobs.columns import EVENT_TYPE, ITEM, TIMESTAMP, USER
from recjobs.errors import NotArrivedError
from recjobs.evaluate.outcomes import outcomes_from_sources
from recjobs.settings import Settings
from tests.planted import planted_settings

LAST = date(2026, 3, 5)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Five days of sources: on each a view of item `i{day}`, a row without a user, and one that comes a day late."""
    for day in range(1, 6):
        noon = datetime(2026, 3, day, 12, tzinfo=UTC)
        rows = [
            ("u1", f"i{day}", "view", noon),
            ("u1", f"i{day}", "purchase", noon),
            (None, "nobody", "view", noon),
            ("u2", "late", "view", noon - timedelta(days=1)),
        ]
        names = {USER: pl.String, ITEM: pl.String, EVENT_TYPE: pl.String, TIMESTAMP: pl.Datetime("us", "UTC")}
        target = tmp_path / "events" / f"date=2026-03-{day:02d}" / "part.parquet"
        target.parent.mkdir(parents=True)
        pl.DataFrame(rows, schema=names, orient="row").write_parquet(target)
    return planted_settings(tmp_path)


def test_the_days_after_and_no_others(settings: Settings) -> None:
    found = outcomes_from_sources(settings, date(2026, 3, 2), date(2026, 3, 4))
    assert found.rows() == [("u1", "i3"), ("u1", "i4"), ("u2", "late")]
    # What arrived on the first day but happened on the lists' own date is no outcome.
    assert outcomes_from_sources(settings, date(2026, 3, 4), LAST).rows() == [("u1", "i5")]


def test_only_the_chosen_types(settings: Settings) -> None:
    chosen = settings.model_copy(
        update={"evaluate": settings.evaluate.model_copy(update={"outcome_types": ["purchase"]})}
    )
    assert outcomes_from_sources(chosen, date(2026, 3, 3), LAST).rows() == [("u1", "i4"), ("u1", "i5")]


def test_days_that_have_not_arrived_are_named(settings: Settings) -> None:
    with pytest.raises(NotArrivedError, match="2026-03-06"):
        outcomes_from_sources(settings, LAST, date(2026, 3, 6))
