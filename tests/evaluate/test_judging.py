"""Judging against a plain Python program; the baseline; no look past the lists' date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs import columns
from recjobs.columns import EVENT_TYPE, ITEM, TIMESTAMP, USER
from recjobs.evaluate.baseline import POPULARITY
from recjobs.evaluate.items import Items, popularity_window
from recjobs.evaluate.judging import (
    ALL,
    COVERAGE,
    DIFFERENCE,
    NEW,
    RECJOBS,
    Row,
    Rules,
    Tally,
    judge_shard,
    metric_rows,
)
from recjobs.evaluate.outcomes import outcomes_of
from tests.evaluate.test_measures import naive

VIEW, PURCHASE = 1, 2
RULES = Rules((1, 3), frozenset({VIEW, PURCHASE}), {"home": frozenset({PURCHASE})}, 60, 0.9, 17)
LENGTH = 3


@dataclass
class Judged:
    """One user: the list, what happened since, and what had happened before as (item, type)."""

    shown: list[int]
    truth: set[int]
    before: list[tuple[int, int]]


def items_of(popularity: Sequence[float], hidden: Sequence[int] = ()) -> Items:
    names = [None, *(f"i{number}" for number in range(1, len(popularity) + 1))]
    eligible = np.array([number > 0 and number not in hidden for number in range(len(names))])
    return Items(pl.Series(names), pl.Series(names), eligible, np.array([0.0, *popularity]))


def tally_of(users: Sequence[Judged], items: Items, shard: int = 0) -> Tally:
    names = [f"u{number:02d}" for number in range(len(users))]
    lists = pl.DataFrame(
        {USER: names, ITEM: [[f"i{item}" for item in user.shown] for user in users]},
        schema={USER: pl.String, ITEM: pl.List(pl.String)},
    )
    states = pl.DataFrame(
        {
            USER: names,
            columns.PAIR_ITEM: [[item for item, _ in user.before] for user in users],
            columns.PAIR_TYPE: [[kind for _, kind in user.before] for user in users],
        },
        schema={USER: pl.String, columns.PAIR_ITEM: pl.List(pl.Int32), columns.PAIR_TYPE: pl.List(pl.Int8)},
    )
    outcomes = pl.DataFrame(
        [(name, f"i{item}") for name, user in zip(names, users, strict=True) for item in user.truth],
        schema={USER: pl.String, ITEM: pl.String},
        orient="row",
    )
    return judge_shard(lists, states, outcomes, items, "home", RULES, shard)


def naive_popular(user: Judged, popularity: Sequence[float], hidden: Sequence[int], length: int) -> list[int]:
    order = sorted(range(1, len(popularity) + 1), key=lambda item: (-popularity[item - 1], item))
    bought = {item for item, kind in user.before if kind == PURCHASE}
    shown = [item for item in order if item not in hidden]
    return [*(item for item in shown if item not in bought), *(item for item in shown if item in bought)][:length]


some_item = st.integers(1, 8)
users = st.lists(
    st.builds(
        Judged,
        st.lists(some_item, unique=True, min_size=LENGTH, max_size=LENGTH),
        # 9 and 10 came into the catalogue after the lists were made.
        st.sets(st.integers(1, 10), max_size=5),
        st.lists(st.tuples(some_item, st.sampled_from([VIEW, PURCHASE])), unique=True, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=100, deadline=None)
@given(users, st.lists(st.integers(0, 3), min_size=8, max_size=8), st.sets(some_item, max_size=3))
def test_judging_is_that_of_a_plain_program(people: list[Judged], popularity: list[int], hidden: set[int]) -> None:
    found = tally_of(people, items_of([float(count) for count in popularity], sorted(hidden)))
    expected: dict[str, dict[str, list[list[float]]]] = {suffix: {RECJOBS: [], POPULARITY: []} for suffix in (ALL, NEW)}
    for user in people:
        popular = naive_popular(user, [float(count) for count in popularity], sorted(hidden), LENGTH)
        known = {item for item, _ in user.before}
        for suffix, left_out in ((ALL, set[int]()), (NEW, known)):
            truth = user.truth - left_out
            if truth:
                for name, shown in ((RECJOBS, user.shown), (POPULARITY, popular)):
                    kept = [item for item in shown if item not in left_out]
                    expected[suffix][name].append([value for k in RULES.at for value in naive(kept, truth, k)])
    for suffix, by_list in expected.items():
        group = found.groups[suffix]
        assert group.users == len(by_list[RECJOBS])
        for name, values in by_list.items():
            if values:
                assert group.sums[name] == pytest.approx(np.sum(values, axis=0))


@settings(max_examples=30, deadline=None)
@given(users, users)
def test_shards_add_up(first: list[Judged], second: list[Judged]) -> None:
    items = items_of([1.0] * 8)
    apart, together = tally_of(first, items) + tally_of(second, items, 1), tally_of([*first, *second], items)
    for suffix in (ALL, NEW):
        assert apart.groups[suffix].users == together.groups[suffix].users
        for name in (RECJOBS, POPULARITY):
            assert apart.groups[suffix].sums[name] == pytest.approx(together.groups[suffix].sums[name])
    for name in (RECJOBS, POPULARITY):
        assert np.array_equal(apart.shown[name], together.shown[name])


def rows_by_key(rows: Sequence[Row]) -> dict[tuple[str, str, int], float]:
    return {(row["list"], row["metric"], row["k"]): row["value"] for row in rows}


def test_rows_of_a_known_night() -> None:
    people = [Judged([5, 6, 7], {5}, []), Judged([8, 6, 7], {6, 1}, [(1, PURCHASE)]), Judged([5, 7, 8], set(), [])]
    items = items_of([9.0, 8.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    rows = metric_rows(tally_of(people, items), "home", items, RULES)
    value = rows_by_key(rows)
    assert value[RECJOBS, "recall", 1] == pytest.approx(1 / 2)
    assert value[RECJOBS, "recall", 3] == pytest.approx((1 + 1 / 2) / 2)
    assert value[RECJOBS, "hit_rate", 3] == 1.0
    # Popularity may not show item 1 to its buyer: a peer under the same rule, it misses what would be a sure hit.
    assert value[POPULARITY, "recall", 3] == 0.0
    assert value[DIFFERENCE, "recall", 3] == pytest.approx(0.75)
    assert value[DIFFERENCE, "recall_low", 3] <= 0.75 <= value[DIFFERENCE, "recall_high", 3]
    assert value[RECJOBS, COVERAGE, 1] == pytest.approx(2 / 8)
    assert value[POPULARITY, COVERAGE, 3] == pytest.approx(4 / 8)
    assert {row["users"] for row in rows if row["metric"] == "recall"} == {2}
    assert {row["users"] for row in rows if row["metric"] == COVERAGE} == {3}
    assert value[RECJOBS, "recall_new", 3] == 1.0


def test_without_outcomes_there_are_no_rows() -> None:
    items = items_of([1.0, 2.0, 3.0])
    assert metric_rows(tally_of([Judged([1, 2, 3], set(), [])], items), "home", items, RULES) == []


def test_outcomes_are_of_the_days_after_and_not_later() -> None:
    after, until = date(2026, 3, 1), date(2026, 3, 3)
    end = datetime(2026, 3, 4, tzinfo=UTC)
    moments = {
        "last of the lists' day": datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=UTC),
        "first": datetime(2026, 3, 2, tzinfo=UTC),
        "last": end - timedelta(microseconds=1),
        "too late": end,
    }
    events = pl.DataFrame(
        {
            USER: ["u"] * 6,
            ITEM: [*moments, None, "first"],
            EVENT_TYPE: ["view"] * 6,
            TIMESTAMP: [*moments.values(), moments["first"], moments["first"]],
        }
    )
    assert sorted(outcomes_of(events, ["view"], after, until)[ITEM]) == ["first", "last"]
    assert outcomes_of(events, ["purchase"], after, until).is_empty()


def test_popularity_is_of_28_days_or_the_longest_window() -> None:
    assert popularity_window(["item_id", "count_view_1d", "count_view_28d", "count_add_to_cart_60d"]) == 28
    assert popularity_window(["count_view_1d", "count_view_7d"]) == 7
    assert popularity_window(["item_id"]) == 0
