from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from recjobs import columns
from recjobs.retrieve.search.sources.config import NewConfig
from recjobs.retrieve.search.sources.fresh import Fresh, demand_rate
from tests.retrieve.search.sources.people import users_of

NOW = int(datetime(2026, 3, 11, tzinfo=UTC).timestamp())


def items() -> pl.DataFrame:
    """One of February, two new ones by `created_at` or first event, one of unknown age, one not yet born."""

    def moment(*day: int) -> datetime:
        return datetime(2026, *day, tzinfo=UTC)  # type: ignore[arg-type]

    created = [moment(2, 1), moment(3, 9), None, None, moment(3, 20)]
    first = [moment(2, 2), moment(3, 10), moment(3, 1), None, None]
    frame = {
        columns.ITEM_INDEX: pl.Series([1, 2, 3, 4, 5], dtype=pl.Int32),
        columns.CREATED_AT: pl.Series(created, dtype=pl.Datetime("us", "UTC")),
        columns.FIRST_EVENT: pl.Series(first, dtype=pl.Datetime("us", "UTC")),
        columns.N_USERS: [900, 4, 10, 0, 0],
    }
    return pl.DataFrame(frame)


def test_new_items_are_rated_by_users_per_day_drawn_towards_their_mean() -> None:
    mean = 14.5 / 12
    wanted = [0, (4 + 3 * mean) / 5, (10 + 3 * mean) / 13, 0, 0]
    assert demand_rate(items(), NOW, NewConfig(days=14, shrinkage_days=3)) == pytest.approx(wanted, rel=1e-6)


def test_everybody_is_proposed_the_same_new_items_that_may_be_shown() -> None:
    source = Fresh(items(), np.array([-1, 0, 1, 2, 3, 4]), 5, NOW, NewConfig(quota=4))
    assert source.block(users_of([], [])).top(4).tolist() == [[1, 2, -1, -1]] * 2
    without = Fresh(items(), np.array([-1, 0, -1, 1, 2, 3]), 4, NOW, NewConfig(quota=4))
    assert without.block(users_of([])).top(4).tolist() == [[1, -1, -1, -1]]
