from __future__ import annotations

import polars as pl
import pytest

from recjobs import columns as c
from recjobs.extract import attributes


@pytest.mark.parametrize(("snapshot", "expected"), [(None, "DE"), ("GB", "GB")])
def test_the_snapshot_comes_before_the_latest_event_that_tells(snapshot: str | None, expected: str) -> None:
    nothing = [pl.lit(None, pl.String).alias(name) for name in (c.REGION, c.LANGUAGE)]
    listed = pl.DataFrame([("ann", snapshot), ("zoe", None)], {c.USER: pl.String, c.COUNTRY: pl.String}, orient="row")
    rows = [("ann", "FR", "a"), ("ann", "DE", None), ("ann", None, None), ("bob", None, None)]
    events = pl.DataFrame(rows, dict.fromkeys((c.USER, c.COUNTRY, c.ITEM), pl.String), orient="row")
    known = attributes.joined(attributes.latest_of(events.with_columns(nothing)), listed.with_columns(nothing))
    assert known.select(c.USER, c.COUNTRY, attributes.TRAINED).rows() == [
        ("ann", expected, True),
        ("bob", None, False),
        ("zoe", None, False),
    ]
