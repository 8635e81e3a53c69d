"""The steps together, over hostile worlds, against a plain Python program."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.audience import ROW
from recjobs.compose.fallbacks import ColdStart, Fill, descending
from recjobs.compose.order import steps_of
from recjobs.compose.reasons import EventWords, Neighbours
from recjobs.compose.rules import ByScore, Eligibility, NoRepeat
from recjobs.compose.steps import LISTS, ORIGIN, Origin, Scene, run_steps
from tests.compose.worlds import (
    COLD_BELOW,
    PURCHASE,
    VIEW,
    Person,
    World,
    candidates_of,
    config_of,
    naive_list,
    scene_of,
    worlds,
)

STEPS = (Eligibility(), NoRepeat(), ByScore(), ColdStart(COLD_BELOW), Fill())


def finished(world: World) -> tuple[pl.DataFrame, Scene]:
    scene = scene_of(world)
    return run_steps(STEPS, candidates_of(world), scene)[0], scene


def items_of(lists: pl.DataFrame, row: int) -> list[int]:
    return lists.filter(pl.col(ROW) == row)[ITEM_INDEX].to_list()


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_lists_are_those_of_a_plain_program(world: World) -> None:
    lists, _ = finished(world)
    for row, person in enumerate(world.people):
        assert items_of(lists, row) == naive_list(world, person)


@settings(max_examples=50, deadline=None)
@given(worlds())
def test_every_list_is_full_distinct_eligible_and_falls(world: World) -> None:
    lists, scene = finished(world)
    assert lists.schema == LISTS
    assert lists[ROW].is_sorted()
    assert not lists.select(ROW, ITEM_INDEX).is_duplicated().any()
    assert set(lists[ITEM_INDEX]) <= world.eligible
    assert scene.lengths(lists).tolist() == [world.full] * len(world.people)
    assert lists[SCORE].is_finite().all()
    falls = lists[SCORE].diff().le(0) | lists[ROW].diff().ne(0)
    assert falls.fill_null(True).all()


@settings(max_examples=50, deadline=None)
@given(worlds())
def test_a_repeat_is_shown_only_when_nothing_else_is_left(world: World) -> None:
    lists, _ = finished(world)
    for row, person in enumerate(world.people):
        bought = {item for item, kind in person.events if kind == PURCHASE} & world.eligible
        shown = set(items_of(lists, row))
        assert len(shown & bought) == max(0, world.full - len(world.eligible - bought))
        repeats = lists.filter((pl.col(ROW) == row) & (pl.col(ORIGIN) == int(Origin.REPEAT)))
        assert set(repeats[ITEM_INDEX]) == shown & bought


@settings(max_examples=50, deadline=None)
@given(worlds())
def test_counts_say_what_changed(world: World) -> None:
    scene, lists = scene_of(world), candidates_of(world)
    for step in STEPS:
        after = step(lists, scene)
        kept_before = lists.height - after.removed
        assert after.lists.height == kept_before + after.added
        before_keys, after_keys = set(scene.keys(lists).tolist()), set(scene.keys(after.lists).tolist())
        if not isinstance(step, ByScore | Eligibility | NoRepeat):
            assert after.removed == len(before_keys - after_keys)
        assert after.added == len(after_keys - before_keys)
        lists = after.lists


def test_scores_order_candidates_and_ties_keep_the_rankers_order() -> None:
    person = Person(events=[(1, VIEW)] * 3, candidates=[(4, 0.5), (2, 0.9), (3, 0.5), (5, 0.9)])
    world = World(5, {1, 2, 3, 4, 5}, [person], length=4)
    stepped = ByScore()(candidates_of(world), scene_of(world))
    assert stepped.lists[ITEM_INDEX].to_list() == [2, 5, 4, 3]
    assert stepped.moved == 4


def test_cold_user_gets_segment_and_candidates_by_turns() -> None:
    person = Person("GB", [], [(7, 0.9), (1, 0.8), (8, 0.4)])
    world = World(
        9, set(range(1, 10)), [person], {"country=GB": [(1, 3.0), (2, 2.0), (3, 1.0)], "all": [(4, 9.0)]}, length=6
    )
    lists, _ = finished(world)
    # 1 is in both and keeps its earlier place; from the fallbacks 4 follows the segment's three.
    assert lists[ITEM_INDEX].to_list() == [1, 7, 2, 3, 8, 4]
    scores = lists[SCORE].to_numpy()
    assert scores[:2].tolist() == pytest.approx([0.9, 0.9])
    assert scores[2:5].tolist() == pytest.approx([0.4, 0.4, 0.4])
    assert scores[5] < scores[4]


def test_warm_user_is_left_to_the_models() -> None:
    person = Person("GB", [(9, VIEW)] * 3, [(7, 0.9), (8, 0.4)])
    world = World(9, set(range(1, 10)), [person], {"country=GB": [(1, 3.0), (2, 2.0)], "all": [(4, 9.0)]}, length=6)
    lists, _ = finished(world)
    assert lists[ITEM_INDEX].to_list() == [7, 8, 1, 2, 4, 3]
    origins = [Origin.MODEL, Origin.MODEL, Origin.SEGMENT, Origin.SEGMENT, Origin.POPULAR, Origin.CATALOGUE]
    assert lists[ORIGIN].to_list() == [int(origin) for origin in origins]


def test_user_who_had_everything_gets_it_again() -> None:
    person = Person(None, [(1, PURCHASE), (2, PURCHASE), (3, PURCHASE)], [(1, 0.9), (2, 0.8)])
    lists, _ = finished(World(3, {1, 2, 3}, [person], {"all": [(2, 1.0)]}, length=3))
    assert lists[ITEM_INDEX].to_list() == [2, 1, 3]
    assert set(lists[ORIGIN]) == {int(Origin.REPEAT)}


def test_filled_scores_go_down_below_the_models() -> None:
    lists = pl.DataFrame(
        {
            ROW: [0, 0, 0, 1, 1],
            ITEM_INDEX: [1, 2, 3, 1, 2],
            SCORE: [50.0, None, None, None, None],
            ORIGIN: [0, 2, 2, 2, 2],
        },
        schema=LISTS,
    )
    scores = descending(lists)[SCORE].to_numpy()
    assert scores[:3].tolist() == pytest.approx([50.0, 49.995, 49.99])
    assert scores[3:].tolist() == pytest.approx([-1e-4, -2e-4], rel=1e-5)
    assert np.all(np.diff(scores[:3]) < 0)


def test_reasons_are_the_last_step_and_can_be_left_out() -> None:
    world = World(1, {1}, [Person()])
    near, words = Neighbours(np.empty(0, np.int32), np.zeros(3, np.int64)), EventWords({}, frozenset(), frozenset())
    config = config_of(world)
    names = [step.name for step in steps_of(config, near, words)]
    assert names == ["eligibility", "no_repeat", "score", "cold_start", "fill", "reasons"]
    silent = config.model_copy(update={"reasons": "none"})
    assert [step.name for step in steps_of(silent, near, words)] == names[:-1]
