"""What rules make of each item: who decides on repeats, what caps group, what exploring tries."""

from __future__ import annotations

import numpy as np
import polars as pl

from recjobs.columns import ITEM_INDEX
from recjobs.compose.audience import ROW
from recjobs.compose.rulebook import NEVER, Rulebook, rulebook
from recjobs.compose.rules import NoRepeat
from recjobs.compose.steps import Scene
from tests.compose.shelves import config_of, items_of, listed, lists_of
from tests.compose.worlds import NOW, PURCHASE, VIEW, Person, World, scene_of

CODES = {"view": VIEW, "purchase": PURCHASE, "dislike": 3}
SHOP = items_of(
    [
        {"category": "food/fruit", "age": 2},
        {"category": "food/fruit/apples", "age": 400, "n_events": 3},
        {"category": "tools", "age": 9},
        {"category": "tools", "age": 90, "available": False, "n_events": 0},
        {"n_events": 1},
    ]
)


def book_of(**sections: object) -> Rulebook:
    return rulebook(config_of(**sections), "home", SHOP, CODES)


FOOD_AFTER_3 = {"where": {"category": "food"}, "event_types": ["purchase"], "repeat": "after", "days": 3}


def test_the_first_repeat_rule_decides_and_then_no_repeat() -> None:
    always = {"where": {"category": "food/fruit/apples"}, "event_types": ["purchase"], "repeat": "always"}
    book = book_of(
        rules={"repeat": [FOOD_AFTER_3]}, home={"no_repeat": ["purchase", "view"], "rules": {"repeat": [always]}}
    )
    assert book.bars[PURCHASE].tolist() == [0, 3, 0, NEVER, NEVER, NEVER]
    assert book.bars[VIEW].tolist() == [0, *[NEVER] * 5]
    assert book.bars[3].tolist() == [0] * 6
    assert book.ruled.tolist() == [False, True, True, False, False, False]


def repeat_scene(person: Person, **sections: object) -> Scene:
    world = World(5, {1, 2, 3, 4, 5}, [person])
    base = scene_of(world)
    return Scene(base.audience, base.catalogue, base.popularity, base.surface, bars=book_of(**sections).bars, now=NOW)


def test_days_are_counted_from_the_users_last_such_event() -> None:
    # An event a day, the last one a day before now: item 1 was had 1 day ago, item 2 3 days, item 3 2 days ago.
    person = Person(events=[(2, PURCHASE), (3, PURCHASE), (1, PURCHASE)])
    rules = {"repeat": [FOOD_AFTER_3]}
    kept = NoRepeat()(lists_of([1, 2, 3, 4]), repeat_scene(person, rules=rules))
    assert listed(kept.lists) == [2, 3, 4]
    assert kept.removed == 1
    again = Person(events=[(2, PURCHASE), (3, PURCHASE), (2, PURCHASE)])
    assert listed(NoRepeat()(lists_of([1, 2, 3]), repeat_scene(again, rules=rules)).lists) == [
        1,
        3,
    ]
    viewed = Person(events=[(1, VIEW)])
    assert listed(NoRepeat()(lists_of([1]), repeat_scene(viewed, rules=rules)).lists) == [1]


def test_bars_of_no_repeat_alone_are_those_of_no_repeat() -> None:
    person = Person(events=[(2, PURCHASE), (3, VIEW), (1, PURCHASE)])
    old = scene_of(World(5, {1, 2, 3, 4, 5}, [person]))
    new = repeat_scene(person, home={"no_repeat": ["purchase"]})
    assert new.barred.to_list() == old.barred.to_list()
    assert {key % 6 for key in new.barred} == {1, 2}


def test_caps_group_equal_values_or_the_first_levels_of_a_path() -> None:
    caps = [{"column": "category", "at_most": 1}, {"column": "category", "at_most": 2, "within": 3, "levels": 1}]
    whole, levels = book_of(rules={"cap": caps}, home={"length": 10}).limits
    assert len(set(whole.groups[1:4].tolist())) == 3
    assert levels.groups[1] == levels.groups[2] != levels.groups[3] == levels.groups[4]
    assert whole.groups[5] == levels.groups[5] == whole.groups[0] == 0
    assert (whole.places, whole.window, levels.places, levels.window, levels.at_most) == (10, 10, 3, 3, 2)


def test_exploring_tries_what_is_young_or_seldom_seen_and_may_be_shown() -> None:
    explore = {"share": 0.5, "places": [1], "below_events": 4}
    assert book_of(home={"explore": explore}).pool.tolist() == [1, 3, 2, 5]
    assert book_of(home={"explore": {**explore, "pool": 2}}).pool.tolist() == [1, 3]
    tools = {"exclude": [{"where": {"category": "tools"}}]}
    assert book_of(rules=tools, exclude_items=["i2"], home={"explore": explore}).pool.tolist() == [1, 5]


def test_includes_of_all_and_of_the_surface_must_both_hold() -> None:
    book = book_of(
        rules={"include": [{"where": {"category": "food"}}, {"where": {"category": "tools"}}]},
        home={"rules": {"include": [{"where": {"age_days": {"max": 100}}}], "exclude": [{"where": {"item_id": "i4"}}]}},
    )
    assert np.flatnonzero(book.allowed).tolist() == [1, 3]
    assert book.filters
    assert not book_of().filters


def test_pins_of_unknown_items_are_left_out() -> None:
    pins = [{"item": "i2", "place": 1}, {"item": "gone", "place": 2}]
    assert [(pin.item, pin.place) for pin in book_of(rules={"pin": pins}).pinned] == [(2, 0)]


def test_barred_pairs_are_by_user() -> None:
    people = [Person(events=[(1, PURCHASE)]), Person(events=[(3, PURCHASE)])]
    base = scene_of(World(5, {1, 2, 3, 4, 5}, people))
    bars = book_of(rules={"repeat": [FOOD_AFTER_3]}).bars
    scene = Scene(base.audience, base.catalogue, base.popularity, base.surface, bars=bars, now=NOW)
    left = NoRepeat()(lists_of([1, 3], [1, 3]), scene).lists
    assert left.select(ROW, ITEM_INDEX).rows() == [(0, 3), (1, 1), (1, 3)]
    assert isinstance(left, pl.DataFrame)
