from __future__ import annotations

from datetime import datetime

import polars as pl

from recjobs import columns as c
from recjobs.extract.duplicates import without_duplicates
from tests.extract.streams import moment

NAMES = {c.USER: pl.String, c.EVENT_ID: pl.String, c.ITEM: pl.String, c.COUNTRY: pl.String}
Row = tuple[str | None, ...]


def frame(*rows: Row, days: list[int] | None = None) -> pl.DataFrame:
    """Events in the order of arrival, all of one moment or of `days`."""
    times: list[datetime] = [moment(day) for day in days or [0] * len(rows)]
    return pl.DataFrame(rows, NAMES, orient="row").with_columns(pl.Series(c.TIMESTAMP, times))


def kept(events: pl.DataFrame, identity: list[str]) -> list[Row]:
    return without_duplicates(events, identity).events.select(list(NAMES)).rows()


def test_the_first_to_arrive_of_events_with_one_id_is_kept() -> None:
    events = frame(("ann", "1", "a", "FR"), ("bob", "1", "a", "DE"), ("ann", "1", "b", "GB"))
    assert kept(events, []) == [("ann", "1", "a", "FR"), ("bob", "1", "a", "DE")]


def test_identity_counts_only_without_an_id() -> None:
    same: list[Row] = [("ann", "1", "a", "FR"), ("ann", "2", "a", "FR")]
    same += [("ann", None, "a", "GB"), ("ann", None, "a", "")]
    assert kept(frame(*same), [c.ITEM]) == same[:3]
    assert kept(frame(*same), []) == same
    assert kept(frame(*same[2:]), [c.ITEM]) == same[2:3]


def test_missing_values_of_identity_are_equal() -> None:
    events = frame(("ann", None, None, "GB"), ("ann", None, None, "DE"), ("bob", None, None, "DE"))
    assert [row[3] for row in kept(events, [c.ITEM])] == ["GB", "DE"]


def test_a_repetition_of_a_later_day_waits_for_what_it_repeats_to_leave() -> None:
    rows: list[Row] = [("bob", "1", "a", None), *([("ann", "1", "a", str(number)) for number in range(4)])]
    rows += [("ann", None, "a", "x"), ("ann", None, "a", "y")]
    found = without_duplicates(frame(*rows, days=[0, 1, 3, 1, 2, 5, 6]), [c.ITEM])
    assert found.events.height == 3
    assert found.waiting.select(c.COUNTRY, c.TIMESTAMP).rows() == [
        ("1", moment(3)),
        ("3", moment(2)),
        ("y", moment(6)),
    ]
