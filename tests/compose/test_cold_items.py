"""Cold items inherit from what is like them: against a plain Python program, and on planted neighbours."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose import cold_items
from recjobs.compose.audience import ROW
from recjobs.compose.cold_items import ColdItems, passes_of
from recjobs.compose.order import steps_of
from recjobs.compose.reasons import Neighbours, neighbours_of
from recjobs.compose.steps import run_steps
from tests.compose.test_reasons import WORDS
from tests.compose.worlds import Person, World, candidates_of, config_of, scene_of, worlds

THRESHOLD, NEIGHBOURS = 4, 6


def all_near(similar: dict[int, list[int]], size: int) -> Neighbours:
    rows = sorted(similar.items())
    table = pa.table(
        {
            "item_index": pa.array([item for item, _ in rows], pa.int32()),
            "similar_index": pa.array([near for _, near in rows], pa.list_(pa.int32())),
        }
    )
    return neighbours_of(table, size, 1000)


def naive_scores(world: World, person: Person, similar: dict[int, list[int]]) -> dict[int, float]:
    """Every candidate's and heir's score, by the rule read aloud."""
    own: dict[int, float] = {}
    for item, score in person.candidates:
        own.setdefault(item, score)
    if not own:
        return {}
    lowest = min(score for _, score in person.candidates)
    scores = dict(own)
    for item in sorted(world.eligible):
        events = world.item_events.get(item, 0)
        warm = [one for one in similar.get(item, []) if world.item_events.get(one, 0) >= THRESHOLD][:NEIGHBOURS]
        if events >= THRESHOLD or item not in world.new or not warm:
            continue
        best = sorted((own[one] - lowest for one in warm if one in own), reverse=True)[: NEIGHBOURS // 3]
        inherited = lowest + sum(best) / (NEIGHBOURS // 3)
        score = events / THRESHOLD * own.get(item, lowest) + (1 - events / THRESHOLD) * inherited
        if item in own or sum(best) > 0:
            scores[item] = score
    return scores


@settings(max_examples=60, deadline=None)
@given(worlds(), st.data())
def test_scores_are_those_of_the_rule(world: World, data: st.DataObject) -> None:
    every = range(1, world.items + 1)
    world.item_events = {item: data.draw(st.sampled_from([6, 0, 6, 2, 6])) for item in every}
    if world.people:
        # Somebody with much to inherit from.
        world.people[0].candidates = [(item, data.draw(st.floats(-3, 3, width=32))) for item in every]
    similar = {item: [one for one in data.draw(st.permutations(list(every))) if one != item] for item in every}
    scene, lists = scene_of(world), candidates_of(world)
    passes = passes_of(all_near(similar, world.items), scene.catalogue, scene.catalogue.new, THRESHOLD, NEIGHBOURS)
    after = ColdItems(passes)(lists, scene)
    assert after.lists.schema == lists.schema
    assert after.added == after.lists.height - lists.height
    assert after.lists[ROW].is_sorted()
    for row, person in enumerate(world.people):
        mine = after.lists.filter(pl.col(ROW) == row).unique(ITEM_INDEX, keep="first", maintain_order=True)
        expected = naive_scores(world, person, similar)
        assert set(mine[ITEM_INDEX]) == set(expected)
        for item, score in mine.select(ITEM_INDEX, SCORE).iter_rows():
            assert score == pytest.approx(expected[item], abs=1e-4)


def planted(events_of_new: int = 0) -> tuple[World, Neighbours]:
    """Item 9 is new and like 1 to 3; one user's candidates begin with these, another's end with them."""
    fan = Person("GB", [(1, 1)] * 9, [(1, 3.0), (2, 2.9), (3, 2.8), (4, 1.0), (5, 0.5), (6, 0.0)])
    other = Person("GB", [(6, 1)] * 9, [(4, 3.0), (5, 2.9), (6, 2.8), (1, 0.2), (2, 0.1), (3, 0.0)])
    events = dict.fromkeys(range(1, 9), 50) | {9: events_of_new}
    near = all_near({9: [1, 2, 3, 4, 5, 6]}, 9)
    return World(9, set(range(1, 10)), [fan, other], length=4, item_events=events, new={9}), near


def listed(world: World, near: Neighbours) -> list[list[int]]:
    scene = scene_of(world)
    passes = passes_of(near, scene.catalogue, scene.catalogue.new, THRESHOLD, 6)
    lists, _ = run_steps(steps_of(config_of(world), near, WORDS, passes), candidates_of(world), scene)
    return [lists.filter(pl.col(ROW) == row)[ITEM_INDEX].to_list() for row in range(len(world.people))]


def test_a_new_item_enters_the_list_of_who_likes_what_it_resembles() -> None:
    world, near = planted()
    fan, other = listed(world, all_near({9: [1, 2, 3]}, 9))
    assert fan == [1, 9, 2, 3]
    assert 9 not in other
    # By all its neighbours it would please both.
    assert all(9 in items for items in listed(world, near))


def test_an_item_that_is_known_goes_by_its_own_score() -> None:
    world, near = planted(events_of_new=THRESHOLD)
    assert all(9 not in items for items in listed(world, near))


def test_an_old_item_that_nobody_wanted_is_left_alone() -> None:
    world, near = planted()
    world.new.clear()
    assert all(9 not in items for items in listed(world, near))


def test_a_new_item_that_may_not_be_shown_stays_away() -> None:
    world, near = planted()
    world.eligible.remove(9)
    assert all(9 not in items for items in listed(world, near))


def test_nothing_changes_where_all_items_are_cold_or_all_warm() -> None:
    for events in (0, 50):
        world, near = planted()
        world.item_events, world.new = dict.fromkeys(range(1, 10), events), set(range(1, 10))
        scene, lists = scene_of(world), candidates_of(world)
        after = ColdItems(passes_of(near, scene.catalogue, scene.catalogue.new, THRESHOLD, 6))(lists, scene)
        assert after.lists.equals(lists)
        assert after.added == 0


def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    world, near = planted()
    world.people = world.people * 5
    scene, lists = scene_of(world), candidates_of(world)
    step = ColdItems(passes_of(near, scene.catalogue, scene.catalogue.new, THRESHOLD, 6))
    whole = step(lists, scene).lists
    monkeypatch.setattr(cold_items, "_ROWS_AT_ONCE", 7)
    assert step(lists, scene).lists.equals(whole)


def test_a_warm_item_has_a_bounded_number_of_heirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_items, "MOST_HEIRS", 2)
    world = World(6, set(range(1, 7)), [], item_events={1: 50}, new=set(range(2, 7)))
    near = all_near({item: [1] for item in range(2, 7)}, 6)
    passes = passes_of(near, scene_of(world).catalogue, scene_of(world).catalogue.new, THRESHOLD, 6)
    assert passes.heirs.tolist() == [2, 3]
    assert np.diff(passes.starts).tolist() == [0, 2, 0, 0, 0, 0, 0]
    assert np.flatnonzero(passes.weight).tolist() == [2, 3]
