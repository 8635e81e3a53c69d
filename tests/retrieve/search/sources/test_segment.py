from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recjobs import columns
from recjobs.retrieve.search.sources.config import SegmentConfig
from recjobs.retrieve.search.sources.cooccurrence import Sequences
from recjobs.retrieve.search.sources.segment import WEIGHT, Segment, segment_demand
from recjobs.retrieve.search.sources.users import segment_names
from tests.retrieve.search.sources.people import DAY, users_of

POSITION = np.array([-1, 0, 1, -1, 2])


def demand_of(rows: list[tuple[str, int, float]]) -> pl.DataFrame:
    schema = {columns.SEGMENT: pl.String, columns.ITEM_INDEX: pl.Int32, WEIGHT: pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_demand_is_counted_in_all_and_in_the_users_segment_and_fades() -> None:
    events = Sequences(*np.array([(0, 1, 10 * DAY), (0, 2, 8 * DAY), (1, 1, 6 * DAY), (2, 2, 10 * DAY)], np.int64).T)
    segments = pl.Series(["a=1", "all", "a=1"])
    found = segment_demand(events, np.array([1.0, 4.0, 1.0, 1.0]), segments, 10 * DAY, 2.0)
    assert found.rows() == [("all", 1, 1.25), ("all", 2, 3.0), ("a=1", 1, 1.0), ("a=1", 2, 3.0)]


def test_a_users_segment_needs_all_its_values() -> None:
    users = pl.DataFrame({"country": ["FR", None, "GB"], "age_band": ["18", "18", "30"]})
    assert segment_names(users, ["country", "age_band"], 3).to_list() == [
        "country=FR&age_band=18",
        "all",
        "country=GB&age_band=30",
    ]
    assert segment_names(pl.DataFrame(), [], 2).to_list() == ["all", "all"]


def test_a_segments_share_is_drawn_towards_everybodys_and_unknown_segments_have_that() -> None:
    rows = [("all", 1, 60.0), ("all", 2, 20.0), ("all", 3, 900.0), ("all", 4, 20.0), ("big", 2, 10.0), ("tiny", 1, 1.0)]
    config = SegmentConfig(quota=2, shrinkage=10, segments=1)
    source = Segment(demand_of(rows), POSITION, 3, config)
    scores = source.block(users_of([], [], [], segments=["big", "all", "tiny"]))
    everywhere = np.tile(np.arange(3, dtype=np.int32), (3, 1))
    assert scores.of(everywhere) == pytest.approx(
        np.array([[6 / 20, 12 / 20, 2 / 20], [0.6, 0.2, 0.2], [0.6, 0.2, 0.2]])
    )
    assert scores.top(2).tolist() == [[1, 0], [0, 1], [0, 1]]
