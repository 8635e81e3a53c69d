from __future__ import annotations

import polars as pl
import pytest

from recjobs import columns as c
from recjobs.extract import attributes
from recjobs.extract.canonical import without_duplicates

NAMES = (c.USER, c.EVENT_ID, c.ITEM, c.COUNTRY)


def frame(*rows: tuple[str | None, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, dict.fromkeys(NAMES, pl.String), orient="row")


def test_the_first_to_arrive_of_events_with_one_id_is_kept() -> None:
    events = frame(("ann", "1", "a", "FR"), ("bob", "1", "a", "DE"), ("ann", "1", "b", "GB"))
    assert without_duplicates(events, []).rows() == [("ann", "1", "a", "FR"), ("bob", "1", "a", "DE")]


def test_identity_counts_only_without_an_id() -> None:
    same = [("ann", "1", "a", "FR"), ("ann", "2", "a", "FR"), ("ann", None, "a", "GB"), ("ann", None, "a", "DE")]
    assert without_duplicates(frame(*same), [c.ITEM]).rows() == same[:3]
    assert without_duplicates(frame(*same), []).rows() == same
    assert without_duplicates(frame(*same[2:]), [c.ITEM]).rows() == same[2:3]


def test_missing_values_of_identity_are_equal() -> None:
    events = frame(("ann", None, None, "GB"), ("ann", None, None, "DE"), ("bob", None, None, "DE"))
    assert without_duplicates(events, [c.ITEM])[c.COUNTRY].to_list() == ["GB", "DE"]


@pytest.mark.parametrize(("snapshot", "expected"), [(None, "DE"), ("GB", "GB")])
def test_the_snapshot_comes_before_the_latest_event_that_tells(snapshot: str | None, expected: str) -> None:
    nothing = [pl.lit(None, pl.String).alias(name) for name in (c.REGION, c.LANGUAGE)]
    listed = pl.DataFrame([("ann", snapshot), ("zoe", None)], {c.USER: pl.String, c.COUNTRY: pl.String}, orient="row")
    rows = [("ann", "FR", "a"), ("ann", "DE", None), ("ann", None, None), ("bob", None, None)]
    events = pl.DataFrame(rows, dict.fromkeys((c.USER, c.COUNTRY, c.ITEM), pl.String), orient="row")
    known = attributes.as_of(events.with_columns(nothing), listed.with_columns(nothing))
    assert known.select(c.USER, c.COUNTRY, attributes.TRAINED).rows() == [
        ("ann", expected, True),
        ("bob", None, False),
        ("zoe", None, False),
    ]
