from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from recjobs import columns
from recjobs.rank.features import Pairs, pairs_of
from recjobs.rank.states import end_of, read_candidates, read_items, read_users
from recjobs.rank.train.outcomes import NEVER, event_parts, first_outcomes, label_window, read_outcomes
from tests.planted import Planted, planted_events
from tests.rank.planted_candidates import planted_night

SMALL = Planted(users=30, items=10, groups=2, days=4, events_per_user=20, shards=3)
TASK_OF = {"view": 0, "purchase": 1}


def test_labels_are_those_of_a_plain_search(tmp_path: Path) -> None:
    night = planted_night(tmp_path, SMALL)
    window = label_window(night.earlier, end_of(SMALL.ds))
    ids = read_items(night.earlier)[columns.ITEM]
    events = planted_events(SMALL).with_columns(pl.col(columns.TIMESTAMP).dt.epoch("s").alias("second"))
    last_day = events.filter(pl.col("second").is_between(window.start, window.end, closed="left"))
    assert last_day.height > 50
    hits = 0
    for shard in range(3):
        part = columns.part_name(shard)
        users = read_users(night.earlier.uri("users", part))
        pairs = pairs_of(read_candidates(night.earlier_search.uri("candidates", part), users))
        outcomes = read_outcomes(event_parts(night.extract, shard, 3), window)
        first = first_outcomes(pairs, users.ids, ids, outcomes, TASK_OF, 2)
        found = {
            (users.ids[int(u)].as_py(), ids[int(i) - 1], task): int(second)
            for u, i, row in zip(pairs.user, pairs.item, first, strict=True)
            for task, second in zip(TASK_OF, row, strict=True)
        }
        own = last_day.filter(pl.col(columns.USER).is_in(users.ids.to_pylist()))
        expected = {
            (user, item, kind): second
            for user, item, kind, second in own.group_by(columns.USER, columns.ITEM, columns.EVENT_TYPE)
            .agg(pl.col("second").min())
            .iter_rows()
        }
        hits += len(expected)
        assert found == {key: expected.get(key, NEVER) for key in found}
    assert hits


@pytest.mark.parametrize(("earlier", "tonight"), [(2, 4), (4, 2), (2, 3), (6, 4), (5, 5)])
def test_every_event_of_a_shards_users_is_in_its_parts(tmp_path: Path, earlier: int, tonight: int) -> None:
    """However the number of shards changed from one night to the next."""
    night = planted_night(tmp_path, Planted(**{**SMALL.__dict__, "shards": tonight}), earlier_shards=earlier)
    everything = label_window(night.earlier, end_of(SMALL.ds))
    seen = 0
    for shard in range(earlier):
        users = read_users(night.earlier.uri("users", columns.part_name(shard))).ids.to_pylist()
        parts = event_parts(night.extract, shard, earlier)
        seen += read_outcomes(parts, everything).filter(pl.col(columns.USER).is_in(users)).height
    last_day = planted_events(SMALL).filter(pl.col(columns.TIMESTAMP).dt.date() == SMALL.ds)
    assert seen == last_day.height
    assert len(event_parts(night.extract, 0, tonight)) == 1


def test_events_outside_the_window_are_not_read(tmp_path: Path) -> None:
    night = planted_night(tmp_path, SMALL)
    window = label_window(night.earlier, end_of(SMALL.ds - timedelta(days=1)))
    assert window.start == window.end
    assert read_outcomes(event_parts(night.extract, 0, 3), window).is_empty()


def test_pairs_need_no_order_and_may_be_none() -> None:
    empty = pairs(np.zeros((0, 2), np.int64))
    outcomes = pl.DataFrame(
        {
            columns.USER: ["a", "a", "b", "x"],
            columns.ITEM: ["i2", "i2", "i1", "i1"],
            columns.EVENT_TYPE: ["view", "view", "purchase", "view"],
            columns.TIMESTAMP: [9, 7, 8, 1],
        }
    )
    users, items = pa.array(["a", "b"]), pl.Series(["i1", "i2"])
    assert first_outcomes(empty, users, items, outcomes, TASK_OF, 2).shape == (0, 2)
    unordered = pairs(np.array([[0, 2], [0, 1], [1, 2], [1, 1]]))
    expected = [[7, NEVER], [NEVER, NEVER], [NEVER, NEVER], [NEVER, 8]]
    assert first_outcomes(unordered, users, items, outcomes, TASK_OF, 2).tolist() == expected


def pairs(rows: np.ndarray) -> Pairs:
    zeros = np.zeros(len(rows))
    return Pairs(rows[:, 0], rows[:, 1], zeros, zeros, zeros, zeros)
