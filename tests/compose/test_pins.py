"""Pinned items stand where they are pinned, for everybody who may be shown them."""

from __future__ import annotations

import polars as pl

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.pins import Pins
from recjobs.compose.rulebook import Pinned
from recjobs.compose.steps import ORIGIN, Origin
from tests.compose.shelves import assert_sound, listed, lists_of, scene
from tests.compose.worlds import PURCHASE, Person, World, scene_of


def test_pins_push_down_and_leave_no_second_copy() -> None:
    lists = lists_of([1, 2, 3, 4], [5, 1, 2])
    after = Pins((Pinned(3, 0), Pinned(6, 2)))(lists, scene(6, users=2))
    assert listed(after.lists, 0) == [3, 1, 6, 2, 4]
    assert listed(after.lists, 1) == [3, 5, 6, 1, 2]
    assert_sound(after.lists)
    assert after.lists[SCORE].to_list()[:3] == [4.0, 4.0, 3.0]
    assert (after.added, after.removed, after.gave_way) == (3, 0, 0)
    assert after.moved == 3
    pinned = after.lists.filter(pl.col(ORIGIN) == int(Origin.PINNED))
    assert pinned[ITEM_INDEX].to_list() == [3, 6, 3, 6]


def test_who_had_it_or_where_it_is_not_eligible_the_pin_gives_way() -> None:
    people = [Person(events=[(3, PURCHASE)]), Person()]
    bought = scene_of(World(6, {1, 2, 3, 4, 5}, people))
    after = Pins((Pinned(3, 0), Pinned(6, 1)))(lists_of([1, 2], [1, 2]), bought)
    assert (listed(after.lists, 0), listed(after.lists, 1)) == ([1, 2], [3, 1, 2])
    assert (after.gave_way, after.added) == (3, 1)


def test_a_place_beyond_the_list_is_its_end() -> None:
    after = Pins((Pinned(6, 4),))(lists_of([1, 2], []), scene(6, users=2))
    assert (listed(after.lists, 0), listed(after.lists, 1)) == ([1, 2, 6], [6])
