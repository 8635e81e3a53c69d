"""What each source found, and found alone: by hand, and whatever the shards."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs import columns
from recjobs.evaluate.contribution import contribution_of

TOWERS, NEW = columns.source_bit("towers"), columns.source_bit("new")
SCHEMA = {columns.USER: pl.String(), columns.ITEM_INDEX: pl.List(pl.Int32), columns.SOURCE: pl.List(pl.Int16)}


def candidates_of(users: dict[str, dict[int, int]]) -> pl.DataFrame:
    """By user, each candidate with its bits."""
    return pl.DataFrame(
        [(user, list(found), list(found.values())) for user, found in users.items()], SCHEMA, orient="row"
    )


def outcomes_of(*pairs: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame(list(pairs), {columns.USER: pl.String(), columns.ITEM_INDEX: pl.Int32()}, orient="row")


def test_each_source_is_told_by_what_it_found_and_what_only_it_found() -> None:
    candidates = candidates_of(
        {"a": {1: TOWERS, 2: TOWERS | NEW, 3: NEW}, "b": {1: TOWERS, 4: TOWERS, 5: NEW}, "c": {}}
    )
    outcomes = outcomes_of(("a", 2), ("a", 3), ("b", 4), ("b", 0), ("z", 1))
    rows = {row[columns.SOURCE]: row for row in contribution_of(candidates, outcomes).rows()}
    assert list(rows) == [*columns.SOURCES, "all"]
    told = {"users": 2, "recall": 0.5, "recall_alone": 0.25}
    assert rows["towers"] == {"source": "towers", "share": 4 / 6, "alone": 3 / 6, **told}
    assert rows["new"] == {"source": "new", "share": 3 / 6, "alone": 2 / 6, **told}
    assert rows["all"]["recall"] == rows["all"]["recall_alone"] == 0.75
    assert rows["repeat"]["recall"] == rows["repeat"]["share"] == 0


def test_without_outcomes_there_is_no_recall_and_without_candidates_no_share() -> None:
    nobody = contribution_of(candidates_of({"a": {1: TOWERS}}), outcomes_of())
    assert [row["recall"] for row in nobody.rows()] == [None] * (len(columns.SOURCES) + 1)
    assert nobody.rows()[0]["share"] == 1.0
    nothing = contribution_of(candidates_of({}), outcomes_of(("a", 1)))
    assert {row[name] for row in nothing.rows() for name in ("share", "recall", "recall_alone")} == {None}


BITS = st.integers(1, (1 << len(columns.SOURCES)) - 1)
USERS = st.dictionaries(st.sampled_from("abcdef"), st.dictionaries(st.integers(1, 9), BITS, max_size=6), max_size=6)
OUTCOMES = st.sets(st.tuples(st.sampled_from("abcdefz"), st.integers(0, 9)), max_size=20)


@settings(deadline=None, max_examples=40)
@given(USERS, OUTCOMES)
def test_shards_add_up_to_the_whole_which_is_what_one_counts_by_hand(
    users: dict[str, dict[int, int]], outcomes: set[tuple[str, int]]
) -> None:
    seen = outcomes_of(*sorted(outcomes))
    rows = contribution_of(candidates_of(users), seen).rows()
    shards = [{user: found for user, found in users.items() if user in some} for some in ("ace", "bd", "f")]
    split = reduce(add, [contribution_of(candidates_of(shard), seen) for shard in shards]).rows()
    for whole, one in zip(rows, split, strict=True):
        assert {name: pytest.approx(value) for name, value in whole.items() if name != "source"} == {
            name: value for name, value in one.items() if name != "source"
        }
    judged = [user for user in users if any(user == other for other, _ in outcomes)]
    for row in rows[:-1]:
        bit = columns.source_bit(row["source"])
        shares = [
            np.mean([bool(users[user].get(item, 0) & bit) for other, item in outcomes if other == user])
            for user in judged
        ]
        assert row["recall"] == (pytest.approx(np.mean(shares)) if judged else None)
        assert row["users"] == len(judged)
