"""Exploration shows what it says with the chance it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa

from recjobs.columns import ITEM_INDEX, PROPENSITY
from recjobs.compose.arranging import PLACE
from recjobs.compose.audience import ROW
from recjobs.compose.chance import Seed
from recjobs.compose.config import ExploreConfig
from recjobs.compose.dither import Dither
from recjobs.compose.explore import Explore
from recjobs.compose.lists import list_schema, list_table
from recjobs.compose.pins import Pins
from recjobs.compose.rulebook import Pinned
from recjobs.compose.steps import ORIGIN, Origin, Scene
from recjobs.ragged import places_in_runs
from tests.compose.shelves import assert_sound, listed, lists_of, scene

SEED = Seed(17, date(2026, 3, 31), "home", "explore")
CONFIG = ExploreConfig(share=0.3, places=[2, 4])
POOL = np.array([11, 12, 13, 14, 15, 16], np.int32)
USERS = 6000


def crowd(users: int = USERS) -> Scene:
    """Many users like the first of a small scene."""
    one = scene(20, users=1, length=5)
    audience = replace(
        one.audience,
        user_id=pa.array([f"u{number}" for number in range(users)]),
        cold=np.zeros(users, np.bool_),
        events=np.zeros(users, np.int64),
        segments=np.zeros((users, 1), np.int32),
    )
    return replace(one, audience=audience, propensity=CONFIG.share / len(POOL))


def explored(lists: pl.DataFrame) -> pl.DataFrame:
    placed = lists.with_columns(pl.Series(PLACE, places_in_runs(lists[ROW].to_numpy())))
    return placed.filter(pl.col(ORIGIN) == int(Origin.EXPLORED))


def test_frequencies_are_the_logged_propensities() -> None:
    people = crowd()
    after = Explore(CONFIG, POOL, SEED)(lists_of(*[[1, 2, 3, 4, 5]] * USERS), people)
    found = explored(after.lists)
    assert found[PLACE].unique().sort().to_list() == [1, 3]
    expected = USERS * CONFIG.share / len(POOL)
    counts = Counter(found.select(PLACE, ITEM_INDEX).rows())
    assert set(counts) == {(place, item) for place in (1, 3) for item in POOL.tolist()}
    assert max(abs(count - expected) for count in counts.values()) < 4 * np.sqrt(expected)
    table = list_table(_cut(after.lists), people)
    logged = table.column(PROPENSITY).combine_chunks().flatten().drop_null().to_numpy()
    assert len(logged) == found.height
    # The inverse of a propensity is what its place stands for: together, all lists at both places.
    assert np.allclose(logged, CONFIG.share / len(POOL))
    assert abs((1 / logged).sum() / len(POOL) - 2 * USERS) < 0.05 * 2 * USERS
    assert after.added == found.height
    assert (after.removed, after.gave_way) == (0, 0)


def _cut(lists: pl.DataFrame) -> pl.DataFrame:
    return lists.filter(pl.Series(places_in_runs(lists[ROW].to_numpy()) < 5)).with_columns(pl.col("score").fill_null(0))


def test_schema_has_the_propensity_only_where_there_is_exploration() -> None:
    assert list_schema(explores=True).names == [*list_schema(explores=False).names, PROPENSITY]
    plain = replace(crowd(2), propensity=None)
    assert PROPENSITY not in list_table(lists_of([1, 2], [1, 2]), plain).column_names


def test_what_is_drawn_but_there_or_barred_leaves_the_place_and_the_others_chances() -> None:
    people = crowd()
    lists = lists_of(*[[1, 11, 3, 12, 5]] * USERS)
    after = Explore(CONFIG, POOL, SEED)(lists, people)
    assert_sound(after.lists)
    counts = Counter(explored(after.lists)[ITEM_INDEX].to_list())
    assert set(counts) == {13, 14, 15, 16}
    expected = 2 * USERS * CONFIG.share / len(POOL)
    assert max(abs(count - expected) for count in counts.values()) < 4 * np.sqrt(expected)
    assert abs(after.gave_way - 2 * expected) < 4 * np.sqrt(2 * expected)


def test_an_item_from_below_the_list_moves_up_and_is_there_once() -> None:
    everybody = ExploreConfig(share=1.0, places=[1])
    after = Explore(everybody, np.array([9], np.int32), SEED)(lists_of([1, 2, 3, 4, 5, 6, 9]), crowd(1))
    assert listed(after.lists) == [9, 1, 2, 3, 4, 5, 6]
    assert (after.added, after.moved) == (0, 7)


def test_lists_too_short_for_the_place_are_left_alone() -> None:
    everybody = ExploreConfig(share=1.0, places=[4])
    after = Explore(everybody, POOL, SEED)(lists_of([1, 2], [1, 2, 3]), crowd(2))
    assert listed(after.lists, 0) == [1, 2]
    assert len(listed(after.lists, 1)) == 4
    assert after.gave_way == 1


def test_the_same_users_explore_the_same_whoever_is_beside_them() -> None:
    people = crowd(100)
    lists = lists_of(*[[1, 2, 3, 4, 5]] * 100)
    whole = Explore(CONFIG, POOL, SEED)(lists, people).lists
    some = replace(people.audience, user_id=people.audience.user_id[40:60], cold=people.audience.cold[:20])
    part = Explore(CONFIG, POOL, SEED)(lists_of(*[[1, 2, 3, 4, 5]] * 20), replace(people, audience=some)).lists
    assert [listed(part, row) for row in range(20)] == [listed(whole, row) for row in range(40, 60)]


def test_pins_and_explored_items_keep_their_places_through_dithering() -> None:
    people = crowd(200)
    pinned = Pins((Pinned(20, 0),))(lists_of(*[[1, 2, 3, 4, 5]] * 200), people).lists
    shown = Explore(CONFIG, POOL, SEED)(pinned, people).lists
    after = Dither(1.0, SEED)(shown, people).lists
    assert_sound(after)
    assert all(listed(after, row)[0] == 20 for row in range(200))
    assert explored(after).select(ROW, ITEM_INDEX, PLACE).equals(explored(shown).select(ROW, ITEM_INDEX, PLACE))
    assert explored(after).height > 50
