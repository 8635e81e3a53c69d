from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.rank import history as module
from recjobs.rank.history import affinity, last_items, pair_history
from recjobs.rank.states import Ragged, UserShard

NOW, DAY = 10_000_000, 86_400
ITEMS, TYPES = 6, 2
PAIR = st.tuples(st.integers(1, ITEMS - 1), st.integers(1, TYPES), st.integers(1, 9), st.integers(0, 40))
USERS = st.lists(st.lists(PAIR, max_size=8, unique_by=lambda pair: pair[:2]), min_size=1, max_size=4)
Rows = list[list[tuple[int, int, int, int]]]


@pytest.fixture(scope="module", params=["slots", "search"], autouse=True)
def either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Few keys have a place each, of many the given ones are searched: both find the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SLOTS_LIMIT", 1 << 20 if request.param == "slots" else 0)
        yield


def shard(rows: Rows, history: list[list[int]] | None = None) -> UserShard:
    """User states with these (item, type, count, days ago) pairs."""
    flat = [pair for row in rows for pair in row]
    history = history or [[] for _ in rows]
    return UserShard(
        ids=pa.array([f"u{number}" for number in range(len(rows))]),
        scalars=pl.DataFrame(
            {
                name: pl.Series([when(row, choose) for row in rows], dtype=pl.Datetime("us", "UTC"))
                for name, choose in (("first_event", max), ("last_event", min))
            }
        ),
        history_item=ragged_of(history),
        history_time=ragged_of(history),
        pair_item=ragged_of([[pair[0] for pair in row] for row in rows]),
        pair_type=np.array([pair[1] for pair in flat], np.int8),
        pair_count=np.array([pair[2] for pair in flat], np.int32),
        pair_last=np.array([NOW - DAY * pair[3] for pair in flat], np.int64),
    )


def when(row: list[tuple[int, int, int, int]], choose: Callable[[list[int]], int]) -> datetime | None:
    """The moment of a user's first or last event, as if each pair had been met once."""
    return datetime.fromtimestamp(NOW - DAY * choose([pair[3] for pair in row]), UTC) if row else None


def ragged_of(rows: list[list[int]]) -> Ragged:
    return Ragged(
        np.array([value for row in rows for value in row], np.int32), np.cumsum([0, *map(len, rows)]).astype(np.int64)
    )


def everything(users: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(users), ITEMS), np.tile(np.arange(ITEMS), users)


@settings(deadline=None, max_examples=30)
@given(USERS)
def test_pair_features_are_those_of_a_plain_search(rows: Rows) -> None:
    user, item = everything(len(rows))
    found = pair_history(shard(rows), ITEMS, ("view", "buy"), NOW).features(user, item)
    for position, (u, i) in enumerate(zip(user, item, strict=True)):
        for code, kind in ((1, "view"), (2, "buy")):
            met = [(count, days) for it, ty, count, days in rows[u] if (it, ty) == (i, code)]
            count, fresh = (np.log1p(met[0][0]), 1 / (1 + met[0][1])) if met else (0.0, 0.0)
            np.testing.assert_allclose(found[f"log_pair_{kind}"][position], count, rtol=1e-6)
            np.testing.assert_allclose(found[f"pair_{kind}_fresh_1d"][position], fresh, rtol=1e-6)


@settings(deadline=None, max_examples=30)
@given(USERS)
def test_affinity_is_the_share_of_a_users_events(rows: Rows) -> None:
    category = np.array([0, 0, 1, 1, 2, 2])
    user, item = everything(len(rows))
    found = affinity(shard(rows), category, 3, NOW).features(user, category[item], "category")
    for position, (u, i) in enumerate(zip(user, item, strict=True)):
        total = sum(pair[2] for pair in rows[u])
        same = [pair for pair in rows[u] if category[pair[0]] == category[i] > 0]
        events = sum(pair[2] for pair in same)
        assert found["log_category"][position] == np.float32(np.log1p(events))
        np.testing.assert_allclose(found["category_share"][position], events / total if same else 0.0, rtol=1e-6)
        fresh = 1 / (1 + min(pair[3] for pair in same)) if same else 0.0
        np.testing.assert_allclose(found["category_fresh"][position], fresh, rtol=1e-6)


def test_last_item_is_the_newest_of_the_history() -> None:
    users = shard([[], [], []], [[3, 1], [], [2]])
    assert last_items(users).item.tolist() == [1, 0, 2]
