"""Hit rate 100 %: whatever the catalogue and the users are like, every list is full, distinct and eligible."""

from __future__ import annotations

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recjobs.columns import ITEM_INDEX, REASON, SCORE
from recjobs.compose.audience import ROW
from recjobs.compose.checks import faults_of
from recjobs.compose.item_lists import segment_lists
from recjobs.compose.lists import list_table
from recjobs.compose.order import steps_of
from recjobs.compose.reasons import Neighbours
from recjobs.compose.steps import run_steps
from tests.compose.test_reasons import WORDS, near_of
from tests.compose.worlds import PURCHASE, SEGMENTS, VIEW, Person, World, candidates_of, config_of, scene_of

HUGE = 1000


def everybody_had_all(items: int, people: int, candidates: list[tuple[int, float]]) -> list[Person]:
    """People who bought every item there is."""
    all_of_it = [(item, PURCHASE) for item in range(1, items + 1)]
    return [Person("GB", all_of_it, candidates) for _ in range(people)]


@st.composite
def hostile(draw: st.DrawFn) -> World:
    """One hardship at least: the parts of the world that are usually rich are drawn from the poorest there is."""
    items = draw(st.sampled_from([1, 3, 12]))
    some = st.integers(1, items)
    eligible = draw(st.one_of(st.just({draw(some)}), st.just(set(range(1, items + 1))), st.sets(some, min_size=1)))
    candidates = draw(
        st.one_of(st.just([]), st.lists(st.tuples(st.integers(0, items + 3), st.floats(-3, 3, width=32)), max_size=15))
    )
    people = draw(
        st.one_of(
            st.just([]),
            st.just([Person()]),
            st.just([Person(None, [], candidates)] * 3),
            st.just(everybody_had_all(items, 2, candidates)),
            st.just([Person("GB", [(1, VIEW)] * 4, candidates, "18-24"), Person("FR"), Person(None, [], [], "18-24")]),
        )
    )
    popular = draw(
        st.one_of(st.just({}), st.just({name: [(item, 1.0) for item in range(1, items + 1)] for name in SEGMENTS}))
    )
    return World(
        items=items,
        eligible=eligible,
        people=people,
        popular=popular,
        new=draw(st.sampled_from([set(), set(range(1, items + 1))])),
        length=draw(st.sampled_from([1, 5, HUGE])),
        categories=draw(st.sampled_from([{}, dict.fromkeys(range(1, items + 1), "home/kitchen")])),
        item_events=draw(st.sampled_from([{}, dict.fromkeys(range(1, items + 1), 50)])),
    )


THREE_ITEMS = World(3, {1, 2, 3}, [Person("GB", [(1, VIEW)], [(1, 0.5)])], length=5)
ONE_LEFT = World(12, {7}, [Person("GB", [(7, PURCHASE)], [(1, 0.5)])], {"all": [(1, 2.0)]}, length=5)
NOBODY = World(12, {1, 2}, [], length=5)
NO_EVENTS = World(12, set(range(1, 13)), [Person()] * 3, length=5)
ALL_COLD = World(12, set(range(1, 13)), [Person("GB", [(1, VIEW)] * 9, [(2, 0.5)])], length=5, new=set(range(1, 13)))
ALL_BOUGHT = World(3, {1, 2, 3}, everybody_had_all(3, 2, [(1, 0.5)]), length=HUGE)


@settings(max_examples=60, deadline=None)
@given(hostile())
@example(THREE_ITEMS)
@example(ONE_LEFT)
@example(NOBODY)
@example(NO_EVENTS)
@example(ALL_COLD)
@example(ALL_BOUGHT)
def test_every_list_is_full_distinct_eligible_and_has_reasons(world: World) -> None:
    scene = scene_of(world)
    near: Neighbours = near_of(
        {item: [other for other in range(1, world.items + 1) if other != item] for item in range(1, world.items + 1)},
        world.items,
    )
    lists, _ = run_steps(steps_of(config_of(world), near, WORDS), candidates_of(world), scene)
    assert scene.lengths(lists).tolist() == [world.full] * len(world.people)
    assert not lists.select(ROW, ITEM_INDEX).is_duplicated().any()
    assert set(lists[ITEM_INDEX]) <= world.eligible
    assert lists[SCORE].is_finite().all()
    assert (lists[REASON].fill_null("") != "").all()
    faults = faults_of(list_table(lists, scene), scene.audience.user_id, scene.catalogue, scene.length)
    assert {name: count for name, count in faults.items() if count} == {}


@settings(max_examples=30, deadline=None)
@given(hostile())
def test_segment_lists_are_full_too(world: World) -> None:
    scene = scene_of(world)
    table = pl.DataFrame(pl.from_arrow(segment_lists(scene.popularity, scene.catalogue, world.full, with_reasons=True)))
    assert "all" in table["segment"].to_list()
    for items, reasons in table.select("item_id", "reason").iter_rows():
        assert len(items) == len(set(items)) == len(reasons) == world.full
        assert all(reasons)
